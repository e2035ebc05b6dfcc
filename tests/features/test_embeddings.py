"""Vectors as features: from the cache of encodings and from training, point in time and online."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import feature_repo
from feature_repo.embeddings import ITEM_EMBEDDING, USER_INTEREST
from feature_repo.point_in_time import connect, join_by_feast, join_query
from feature_repo.store import open_store
from tests.features.marts import AS_OF, ITEMS, START, USERS, clock, make_tables, publish
from zhiyin.settings import Settings

UTC_TIME = pa.timestamp("us", tz="UTC")
ENCODER = "0123456789abcdef" * 4


def interest(number: float) -> pa.Table:
    return pa.table({"user_id": USERS, "user_interest": [[number, n / 3] for n in range(len(USERS))]})


def test_interest_is_read_point_in_time_and_online(store: Settings) -> None:
    feature_repo.write_user_interest(store, clock(60), interest(1.0))
    feature_repo.write_user_interest(store, clock(70), interest(2.0))
    feature_repo.write_user_interest(store, clock(70), interest(3.0))  # a run again

    opened = open_store(store)
    service = opened.get_feature_service(USER_INTEREST)
    moments = [clock(day).as_of for day in (59, 60, 69, 70, 90)]
    spine = pa.table({"user_id": [USERS[1]] * len(moments), "feature_at": pa.array(moments, UTC_TIME)})
    with connect(store) as connection:
        connection.register("spine_rows", spine)
        rows = connection.sql(join_query(opened, service, "user_id", "spine_rows") + " order by 2").to_arrow_table()
    assert [row and row[0] for row in rows["user_interest"].to_pylist()] == [None, 1.0, 1.0, 3.0, 3.0]
    feasts = join_by_feast(store, opened, service, "user_id", spine)
    assert rows.cast(feasts.schema).to_pylist() == feasts.to_pylist()

    online = opened.get_online_features(service, [{"user_id": USERS[1]}]).to_dict()
    assert online["user_interest"] == [rows["user_interest"].to_pylist()[-1]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (interest(1.0).drop_columns(["user_id"]), "columns are"),
        (pa.concat_tables([interest(1.0), interest(2.0)]), f"{2 * len(USERS)} rows for {len(USERS)} users"),
        (pa.table({"user_id": ["a", "b"], "user_interest": [[1.0], [1.0, 2.0]]}), r"lengths \[1, 2\]"),
        (pa.table({"user_id": ["a", "b"], "user_interest": [[1.0], None]}), r"lengths \[1, None\]"),
    ],
)
def test_unusable_interest_is_refused_and_nothing_written(settings: Settings, table: pa.Table, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feature_repo.write_user_interest(settings, AS_OF, table)
    assert not settings.features.exists()


def test_items_have_the_vector_of_their_document(settings: Settings, dbt_manifest: Path) -> None:
    documents = ["first document", "", None]
    items = pa.table(
        {
            "item_id": ITEMS[:3],
            "document": documents,
            "valid_from": pa.array([START] * 3, pa.timestamp("us")),
            "title": ["t"] * 3,
            "available": [True] * 3,
        }
    )
    publish(settings, AS_OF, make_tables(AS_OF) | {"item_history": items}, "a")
    feature_repo.apply(settings, dbt_manifest)
    with pytest.raises(FileNotFoundError, match="encode the items first"):
        feature_repo.write_item_embedding(settings, ENCODER)

    digests = [hashlib.sha256(text.encode()).hexdigest() for text in ("", "another", "first document")]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([0.0, 0.0, 1.0, 1.0, 0.5, 0.25], pa.float32()), 2)
    settings.encodings.mkdir(parents=True)
    pq.write_table(pa.table({"digest": digests, "vector": vectors}), settings.encodings / f"{ENCODER[:16]}.parquet")
    feature_repo.write_item_embedding(settings, ENCODER)

    store = open_store(settings)
    spine = pa.table({"item_id": ITEMS[:4], "feature_at": pa.array([AS_OF.as_of] * 4, UTC_TIME)})
    rows = join_by_feast(settings, store, store.get_feature_service(ITEM_EMBEDDING), "item_id", spine)
    assert rows["item_embedding"].to_pylist() == [[0.5, 0.25], [0.0, 0.0], [0.0, 0.0], None]
