"""Data: states are what was true at each snapshot, for every user and item, and nothing from after it."""

import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import feature_repo
from tests.features.marts import AS_OF, COLD, ITEMS, LONG, SHAPES, USERS, clock, histories, make_tables, publish
from zhiyin.settings import Settings
from zhiyin.store import verify_manifest
from zhiyin.warehouse import current


@pytest.fixture
def applied(settings: Settings, dbt_manifest: Path) -> Settings:
    publish(settings, AS_OF, make_tables(AS_OF), "a")
    feature_repo.apply(settings, dbt_manifest)
    return settings


@pytest.fixture
def far_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is not UTC, and has daylight saving."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def asof_join(settings: Settings, key: str, keys: list[str], marts: list[str]) -> pa.Table:
    """The same states by DuckDB alone: one ASOF JOIN per mart."""
    published = current(settings)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("keys", pa.table({key: keys}))
        moments = [moment.replace(tzinfo=None) for moment in AS_OF.snapshots]
        connection.register("moments", pa.table({"feature_at": pa.array(moments, pa.timestamp("us"))}))
        joins, columns = "", f"spine.{key}, timezone('UTC', spine.feature_at) as feature_at"
        for mart in marts:
            _, timestamp, features = SHAPES[mart]
            joins += (
                f" asof left join '{published.path(mart)}' as {mart}"
                f" on spine.{key} = {mart}.{key} and spine.feature_at >= {mart}.{timestamp}"
            )
            for name, kind in features.items():
                column = f"timezone('UTC', {mart}.{name})" if kind == "timestamp" else f"{mart}.{name}"
                columns += f", {column} as {name}"
        spine = "(select * from keys, moments) as spine"
        query = f"select {columns} from {spine} {joins} order by all"
        return connection.sql(query).to_arrow_table()


def sorted_rows(table: pa.Table, like: pa.Table) -> list[dict[str, object]]:
    return table.select(like.column_names).cast(like.schema).to_pylist()


@pytest.mark.usefixtures("far_time_zone")
def test_states_equal_a_plain_asof_join(applied: Settings) -> None:
    folder = feature_repo.read_offline(applied, AS_OF)
    users = pq.read_table(folder / "users.parquet")
    expected = asof_join(applied, "user_id", USERS, ["user_activity", "user_item_repeats", "users"])
    assert users.to_pylist() == sorted_rows(expected, users)
    items = pq.read_table(folder / "items.parquet")
    expected = asof_join(applied, "item_id", ITEMS, ["item_activity", "items"])
    assert items.to_pylist() == sorted_rows(expected, items)


def test_every_key_stands_at_every_snapshot_in_order(applied: Settings) -> None:
    folder = feature_repo.read_offline(applied, AS_OF)
    for name, key, keys in (("users", "user_id", USERS), ("items", "item_id", ITEMS)):
        table = pq.read_table(folder / f"{name}.parquet")
        rows = list(zip(table[key].to_pylist(), table["feature_at"].to_pylist(), strict=True))
        assert rows == [(value, moment) for value in keys for moment in AS_OF.snapshots]
        assert table.schema.field("feature_at").type == pa.timestamp("us", tz="UTC")


def test_cold_items_are_there_with_nulls(applied: Settings) -> None:
    items = pq.read_table(feature_repo.read_offline(applied, AS_OF) / "items.parquet").to_pylist()
    cold = [row for row in items if row["item_id"] in COLD]
    assert len(cold) == len(COLD) * len(AS_OF.snapshots)
    assert {row["item_events_7d"] for row in cold} == {None}
    assert {row["title"] for row in cold} == {f"Title of {item}" for item in COLD}


def test_the_future_does_not_reach_a_snapshot(settings: Settings, dbt_manifest: Path) -> None:
    """Everything after the evaluation cut may change: what is known at the two cuts may not."""
    publish(settings, AS_OF, make_tables(AS_OF), "a")
    feature_repo.apply(settings, dbt_manifest)
    before = pq.read_table(feature_repo.read_offline(settings, AS_OF) / "users.parquet")

    cut = AS_OF.evaluation_cut.replace(tzinfo=None)
    other = histories(seed=1)["user_activity"].to_pylist()
    same = [row for row in histories()["user_activity"].to_pylist() if row["feature_at"] <= cut]
    changed = pa.Table.from_pylist(same + [row for row in other if row["feature_at"] > cut])
    publish(settings, AS_OF, make_tables(AS_OF, {"user_activity": changed.cast(make_schema())}), "b")
    feature_repo.apply(settings, dbt_manifest)
    after = pq.read_table(feature_repo.read_offline(settings, AS_OF) / "users.parquet")

    def rows(table: pa.Table, past: bool) -> list[dict[str, object]]:
        return [row for row in table.to_pylist() if (row["feature_at"] <= AS_OF.evaluation_cut) is past]

    assert rows(before, past=True) == rows(after, past=True)
    assert rows(before, past=False) != rows(after, past=False)  # the planted change is not without effect


def make_schema() -> pa.Schema:
    return histories()["user_activity"].schema


def test_long_arrays_come_through_exactly(applied: Settings) -> None:
    users = pq.read_table(feature_repo.read_offline(applied, AS_OF) / "users.parquet").to_pylist()
    expected = {
        (row["user_id"], row["feature_at"]): row
        for row in pq.read_table(current(applied).path("user_item_repeats")).to_pylist()
    }
    assert max(len(row["repeat_item_ids"]) for row in users) == LONG
    for row in users:
        source = expected[row["user_id"], row["feature_at"].replace(tzinfo=None)]
        assert {name: row[name] for name in source if name.startswith("repeat_")} == {
            name: value for name, value in source.items() if name.startswith("repeat_")
        }


def test_reading_again_replaces_the_states_whole(applied: Settings, dbt_manifest: Path) -> None:
    folder = feature_repo.read_offline(applied, AS_OF)
    first = verify_manifest(folder)
    assert verify_manifest(feature_repo.read_offline(applied, AS_OF))["digest"] == first["digest"]

    publish(applied, AS_OF, make_tables(AS_OF, histories(seed=2)), "b")
    feature_repo.apply(applied, dbt_manifest)
    assert feature_repo.read_offline(applied, AS_OF) == folder
    second = verify_manifest(folder)
    assert second["digest"] != first["digest"]
    assert second["marts"].endswith("-b")
    assert [path.name for path in applied.states.iterdir()] == [AS_OF.date]  # nothing is left behind


def test_marts_of_another_day_are_refused(applied: Settings) -> None:
    for step in (feature_repo.materialize, feature_repo.read_offline, feature_repo.verify_parity):
        with pytest.raises(ValueError, match=f"is as of {AS_OF.date}, the run as of {clock(81).date}"):
            step(applied, clock(81))


def test_marts_that_were_published_since_must_be_applied(applied: Settings) -> None:
    publish(applied, AS_OF, make_tables(AS_OF), "b")
    for step in (feature_repo.materialize, feature_repo.read_offline, feature_repo.verify_parity):
        with pytest.raises(ValueError, match=r"-a/\w+\.parquet, published is .*-b; apply first"):
            step(applied, AS_OF)


def test_a_declared_column_that_was_not_published_is_named(settings: Settings, dbt_manifest: Path) -> None:
    tables = make_tables(AS_OF)
    publish(settings, AS_OF, tables | {"users": tables["users"].drop_columns(["age_band"])}, "a")
    with pytest.raises(ValueError, match=r"users\.parquet lacks age_band, .* build and publish"):
        feature_repo.apply(settings, dbt_manifest)
