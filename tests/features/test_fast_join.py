"""Data: the ASOF JOIN gives, row by row and column by column, what Feast's own point-in-time join gives."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.types import Array, Bool, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

import feature_repo
from feature_repo.definitions import ITEM, ITEM_STATE, USER, USER_STATE
from feature_repo.point_in_time import connect, join_by_feast, join_query
from feature_repo.store import open_store
from tests.features.marts import AS_OF, ITEMS, USERS, make_tables, publish
from zhiyin.settings import Settings

DAY_0 = datetime(2024, 3, 1, tzinfo=UTC)
UTC_TIME = pa.timestamp("us", tz="UTC")
TTL = timedelta(days=1)  # Feast takes whole units only
KEYS = [f"user{number}" for number in range(30)]

FEATURES: dict[str, tuple[FeastType, pa.DataType]] = {
    "text": (String, pa.string()),
    "small": (Int32, pa.int32()),
    "large": (Int64, pa.int64()),
    "real": (Float64, pa.float64()),
    "flag": (Bool, pa.bool_()),
    "moment": (UnixTimestamp, UTC_TIME),
    "vector": (Array(Float32), pa.list_(pa.float32())),
}


def expect_equal(
    settings: Settings, store: FeatureStore, service: FeatureService, key: str, spine: pa.Table
) -> pa.Table:
    with connect(settings) as connection:
        connection.register("spine_rows", spine)
        query = f"{join_query(store, service, key, 'spine_rows')} order by 1, 2"
        ours = connection.sql(query).to_arrow_table()
    feasts = join_by_feast(settings, store, service, key, spine)
    assert ours.schema.names == feasts.schema.names
    assert ours.cast(feasts.schema).to_pylist() == feasts.to_pylist()
    return ours


def spine_of(key: str, keys: list[str], moments: list[datetime]) -> pa.Table:
    rows = [(value, moment) for value in keys for moment in moments]
    return pa.table({key: [row[0] for row in rows], "feature_at": pa.array([row[1] for row in rows], UTC_TIME)})


def late_history(seed: int) -> pa.Table:
    """Rows hours apart, known up to two days later or never; some moments twice, known one after the other."""
    random = np.random.default_rng(seed)
    rows = []
    for key in KEYS:
        for hour in sorted(random.integers(0, 100, size=12).tolist()):
            n = int(random.integers(0, 1000))
            late = timedelta(minutes=int(random.integers(0, 48 * 60)), microseconds=len(rows))
            moment = DAY_0 + timedelta(hours=hour)
            values = {
                "text": f"{n}'s", "small": n, "large": 2**60 + n, "real": n / 7, "flag": n % 2 == 0,
                "moment": moment - timedelta(seconds=n), "vector": [n / 3] * (n % 4),
            }  # fmt: skip
            blank = str(random.choice(list(values)))
            known = moment + late if n % 10 else None
            rows.append({"user_id": key, "at": moment, "known": known, **values, blank: None})
    kinds = {"user_id": pa.string(), "at": UTC_TIME, "known": UTC_TIME} | {
        name: kind for name, (_, kind) in FEATURES.items()
    }
    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))


def once_a_moment(table: pa.Table) -> pa.Table:
    """Without a created timestamp, which of two rows of one moment counts is nobody's promise."""
    first = {(row["user_id"], row["at"]): index for index, row in reversed(list(enumerate(table.to_pylist())))}
    return table.take(pa.array(sorted(first.values())))


@pytest.mark.parametrize("ttl", [timedelta(0), TTL], ids=["forever", "ttl"])
@pytest.mark.parametrize("created", ["", "known"], ids=["prompt", "late"])
def test_rows_are_those_of_feast(settings: Settings, tmp_path: Path, ttl: timedelta, created: str) -> None:
    history = late_history(seed=3)
    pq.write_table(history if created else once_a_moment(history), tmp_path / "history.parquet")
    view = FeatureView(
        name="history",
        entities=[USER],
        ttl=ttl,
        schema=[Field(name="user_id", dtype=String), *(Field(name=n, dtype=d) for n, (d, _) in FEATURES.items())],
        source=FileSource(
            name="history",
            path=str(tmp_path / "history.parquet"),
            timestamp_field="at",
            created_timestamp_column=created,
        ),
    )
    service = FeatureService(name="history", features=[view])
    settings.features.mkdir(parents=True)
    store = open_store(settings)
    store.apply([USER, ITEM, view, service])

    # On the hours: at the very moment of a row, and at the very end of its time to live.
    hours = [DAY_0 + timedelta(hours=hour) for hour in range(-3, 140, 7)]
    between = [moment + timedelta(minutes=29, microseconds=1) for moment in hours]
    spine = spine_of("user_id", [*KEYS, KEYS[0], "nobody"], hours + between)  # one user twice
    rows = expect_equal(settings, store, service, "user_id", spine)
    found = sum(text is not None for text in rows["text"].to_pylist())
    assert 0.2 < found / rows.num_rows < 0.95


def test_states_are_those_of_feast(settings: Settings, dbt_manifest: Path) -> None:
    publish(settings, AS_OF, make_tables(AS_OF), "a")
    feature_repo.apply(settings, dbt_manifest)
    store = open_store(settings)
    for service, key, keys in ((USER_STATE, "user_id", USERS), (ITEM_STATE, "item_id", ITEMS)):
        spine = spine_of(key, keys, list(AS_OF.snapshots))
        expect_equal(settings, store, store.get_feature_service(service), key, spine)
