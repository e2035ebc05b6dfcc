"""A bad row is set aside by itself; a bad day, or a day cut short, does not pass in silence."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.data.homes import WITHOUT_TESTS
from zhiyin.clock import Clock
from zhiyin.landing import land_table, raw_tables
from zhiyin.landing.source import Files
from zhiyin.landing.table import NO_DAY
from zhiyin.settings import Settings
from zhiyin.warehouse import DbtError, build

MOMENTS = "* replace ({} as transaction_timestamp)"
FIRST, NEXT, THIRD = (Clock.parse(f"2017-03-{day:02}") for day in (6, 7, 8))


class Shop:
    """Households of the real log, with a hand on the delivered rows."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        folder.mkdir(exist_ok=True)

    def deliver(self, clock: Clock, columns: str = "*", rows: str = "true") -> None:
        for table in raw_tables(self.settings):
            source = table.source
            if table.name == "transactions":
                path = self.folder / "transactions.parquet"
                duckdb.execute(
                    f"copy (select {columns} from {source.relation()} where {table.rows} and {rows}"
                    f" and transaction_timestamp < '{clock.date}') to '{path}' (format parquet)"
                )
                land_table(replace(table, source=Files(str(path)), rows="true"), self.settings, clock)
            else:
                land_table(table, self.settings, clock, raw_tables(self.settings))

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.settings.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Built on its first day."""
    settings = Settings(home=tmp_path, user_sample=300, memory_limit="2GB")  # type: ignore[call-arg]
    shop = Shop(settings, tmp_path / "deliveries")
    shop.deliver(FIRST)
    build(settings, FIRST, *WITHOUT_TESTS)
    return shop


def test_bad_rows_are_set_aside_a_bad_day_fails_and_a_day_cut_short_warns(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shop.deliver(NEXT, MOMENTS.format("if(hash(basket_id, product_id) % 500 = 0, null, transaction_timestamp)"))
    build(shop.settings, NEXT)
    [(landed,)] = shop.ask(f"select count(*) from '{shop.settings.lake}/transactions/day={NO_DAY}/part-0.parquet'")
    assert landed > 10
    aside = "select rejected_because, count(*) from quarantined_events where occurred_at < '1900-01-01' group by 1"
    assert shop.ask(aside) == [("moment not readable", landed)]
    assert f"moment not readable {landed}" in caplog.text  # what became of the rows

    # All of one day: a small share of all.
    shop.deliver(THIRD, f"* replace (if(transaction_timestamp >= '{NEXT.date}', 0, product_id) as product_id)")
    with pytest.raises(DbtError, match=rf"quarantine_share_of_day[\s\S]*{NEXT.date}[\s\S]*item unknown"):
        build(shop.settings, THIRD)

    shop.settings = shop.settings.model_copy(update={"accept_loss": True})
    shop.deliver(THIRD, rows=f"(transaction_timestamp < '{NEXT.date}' or hash(basket_id) % 5 = 0)")
    caplog.clear()
    build(shop.settings, THIRD)
    assert f'"day": "{NEXT.date}", "weekday": "Tuesday"' in caplog.text
