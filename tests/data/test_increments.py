"""A build takes in only what changed, and what it leaves is what a build from nothing leaves."""

import dataclasses
import logging
import shutil
from pathlib import Path

import duckdb
import pytest

import zhiyin.warehouse
from benchmarks.increment import digests
from zhiyin.clock import Clock
from zhiyin.landing import land_table, raw_tables
from zhiyin.landing.source import Files
from zhiyin.settings import Settings
from zhiyin.warehouse import build, publish

WEEK = [Clock.parse(f"2017-02-{day:02}") for day in range(6, 13)]
LAST = WEEK[-1]


class Shop:
    """Households of the real log, delivered as a bad week delivers: late, twice, in other days' files, out of order.

    Most rows arrive on their day. A few come up to five days late, some of January's in this week, the whole of the 7th
    after the 8th; half of the late ones lie in the file of the day on which they came, half in their own day's, which
    is written again. One row in fifty comes a second time, two days later. From the 9th on some rows of January, and
    some promotions of one of its weeks, are withdrawn.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.tables = {table.name: table for table in raw_tables(settings)}

    def deliver(self, clock: Clock) -> None:
        """Land what arrived before ``clock.as_of``."""
        transactions, promotions = self.tables["transactions"], self.tables["promotions"]
        day = clock.date
        self.folder.mkdir(exist_ok=True)
        duckdb.execute(f"""
            copy (
                with numbered as (
                    select *, transaction_timestamp::date as day, hash(basket_id, product_id, quantity) as draw
                    from {transactions.source.relation()} where {transactions.rows}
                ),
                late as (
                    select *, case
                        when day = '2017-02-07' then 2
                        when draw % 40 = 0 then 1 + draw // 40 % 5
                        when day < '2017-02-01' and draw % 300 = 1 then date '2017-02-06' - day + draw // 300 % 6
                        else 0
                    end::integer as lateness from numbered
                ),
                delivered as (
                    select *, day + lateness as arrived, day + lateness * (draw // 7 % 2)::integer as filed from late
                    union all
                    select *, day + lateness + 2 as arrived, day + lateness + 2 as filed from late where draw % 50 = 2
                )
                select * exclude (day, draw, lateness, arrived) from delivered
                where arrived < '{day}' and not ('{day}' > '2017-02-09' and day < '2017-02-01' and draw % 200 = 3)
                order by draw, filed
            ) to '{self.folder}/transactions.parquet'
        """)
        duckdb.execute(f"""
            copy (
                select * from {promotions.source.relation()}
                where store_id % 10 = 0 and not ('{day}' > '2017-02-09' and week = 4 and product_id % 5 = 0)
                order by all
            ) to '{self.folder}/promotions.parquet'
        """)
        delivered = {
            "transactions": {
                "source": Files(str(self.folder / "transactions.parquet")),
                "day": "filed",
                "rows": "true",
            },
            "promotions": {"source": Files(str(self.folder / "promotions.parquet"))},
        }
        for table in self.tables.values():
            table = dataclasses.replace(table, **delivered.get(table.name, {}))
            land_table(table, self.settings, clock)


def anew(settings: Settings, home: Path) -> Settings:
    """The same lake and key, without the warehouse."""
    other = Settings(home=home, user_sample=settings.user_sample, memory_limit=settings.memory_limit)  # type: ignore[call-arg]
    shutil.copytree(settings.lake, other.lake)
    shutil.copytree(settings.pseudonym_key.parent, other.pseudonym_key.parent)
    return other


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that was built day by day as the week was delivered."""
    settings = Settings(home=tmp_path_factory.mktemp("week"), user_sample=60, memory_limit="2GB")  # type: ignore[call-arg]
    shop = Shop(settings, tmp_path_factory.mktemp("shop"))
    for clock in WEEK:
        shop.deliver(clock)
        build(settings, clock)
    return settings


def test_a_week_of_increments_leaves_what_a_full_refresh_leaves(week: Settings, tmp_path: Path) -> None:
    refreshed = anew(week, tmp_path / "home")
    build(refreshed, LAST)
    assert digests(week) == digests(refreshed)


# Where there is nothing to add to, a build begins anew by itself, and says why.


@pytest.fixture
def copy(week: Settings, tmp_path: Path) -> Settings:
    """The home of the week, to be spoilt."""
    other = anew(week, tmp_path / "home")
    shutil.copyfile(week.warehouse, other.warehouse)
    return other


def word_of(settings: Settings, clock: Clock, caplog: pytest.LogCaptureFixture) -> str:
    """What a build says of itself; it makes one model only, which is enough to say it."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="zhiyin.warehouse"):
        build(settings, clock, "--select", "stg_complete_journey__items")
    return "\n".join(record.getMessage() for record in caplog.records)


def test_a_rerun_is_an_increment(copy: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert "increment: what happened since 2017-02-12" in word_of(copy, LAST, caplog)


def test_after_a_build_of_some_models_all_begin_anew(copy: Settings, caplog: pytest.LogCaptureFixture) -> None:
    word_of(copy, LAST, caplog)
    assert "full refresh: no whole build to add to" in word_of(copy, LAST, caplog)
    with pytest.raises(ValueError, match="the last dbt build did not end well"):
        publish(copy, LAST)


def test_after_a_failed_test_all_begin_anew(copy: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with duckdb.connect(str(copy.warehouse)) as connection:
        connection.execute("insert into interactions select * from interactions where occurred_at < '2017-01-03'")
    with pytest.raises(RuntimeError, match="no_event_is_lost"):
        build(copy, LAST)
    assert "full refresh: no whole build to add to" in word_of(copy, LAST, caplog)


def test_an_earlier_moment_begins_anew(copy: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert "full refresh: the last build stands at a later as_of" in word_of(copy, WEEK[0], caplog)


def test_another_pseudonym_key_begins_anew(copy: Settings, caplog: pytest.LogCaptureFixture) -> None:
    copy.pseudonym_key.unlink()
    assert "full refresh: the project, a setting or a version changed" in word_of(copy, LAST, caplog)


def test_another_catalogue_begins_anew(copy: Settings, caplog: pytest.LogCaptureFixture) -> None:
    source = copy.home / "products.parquet"
    products = next(table for table in raw_tables(copy) if table.name == "products")
    duckdb.execute(f"copy (select * from {products.source.relation()} limit 90_000) to '{source}'")
    land_table(dataclasses.replace(products, source=Files(str(source))), copy, LAST)
    assert "full refresh: undated tables changed: products" in word_of(copy, LAST, caplog)


def test_a_changed_model_begins_anew(copy: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = tmp_path / "project"
    shutil.copytree(zhiyin.warehouse.DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    model = project / "models/marts/users.sql"
    model.write_text(model.read_text() + "-- changed\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zhiyin.warehouse, "DBT_PROJECT", project)
        assert "full refresh: the project, a setting or a version changed" in word_of(copy, LAST, caplog)
