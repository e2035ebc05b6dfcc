"""The registry knows every feature that is computed, once."""

import numpy as np
import pyarrow as pa
import pytest

from tests.model.checkerboard import World
from zhiyin.recommender.candidates import KINDS, ItemToItem, PersonalFrequency, Popularity
from zhiyin.recommender.features import Scored, propose
from zhiyin.recommender.features.registry import (
    ENTRIES,
    EVIDENCE_KINDS,
    FAMILIES,
    OTHER,
    describe_feature,
    group_by_evidence,
    group_by_family,
)
from zhiyin.recommender.state.catalogue import Catalogue, numeric_columns


@pytest.fixture(scope="module")
def emitted(world: World) -> list[str]:
    """The names of all features that ``propose`` emits, besides those of generators that need an encoder."""
    kinds = (PersonalFrequency, ItemToItem, Popularity)
    models = [kind.fit(world.history, world.context) for kind in kinds]
    scored = Scored.by(models, world.users, world.items)
    return [*propose(scored, world.users, world.catalogue, world.items).columns]


def test_every_computed_feature_has_an_entry_of_its_own(emitted: list[str]) -> None:
    computed = [name for name in emitted if not name.startswith(("user_", "item_"))]
    assert len(computed) > 35
    assert [name for name in computed if name not in ENTRIES] == []
    assert [name for name in emitted if describe_feature(name).family == OTHER] == []


def test_every_generator_has_a_family_of_its_name() -> None:
    for kind in KINDS.values():
        for part in ("score", "rank"):
            assert describe_feature(f"{kind.name}_{part}").family == kind.name
    assert describe_feature("last_item_score").family == "generators"


def test_each_feature_is_in_one_family_and_supports_one_kind_of_fact_at_most(emitted: list[str]) -> None:
    groups = group_by_family(emitted)
    assert sorted(name for members in groups.values() for name in members) == sorted(emitted)
    supporting = group_by_evidence(emitted)
    assert tuple(supporting) == EVIDENCE_KINDS
    supported = [name for members in supporting.values() for name in members]
    assert len(supported) == len(set(supported))
    assert all(FAMILIES[family].label for family in groups)


def test_labels_are_unique(emitted: list[str]) -> None:
    labels = [describe_feature(name).label for name in {*emitted, *ENTRIES}]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize(
    ("name", "family", "label", "unit"),
    [
        ("user_visits_14d", "user_state", "User: visits, last 14 days", "count"),
        ("item_mean_rating", "item_state", "Item: mean rating", None),
        ("item_discount_share_28d", "item_state", "Item: discount share, last 28 days", "share"),
        ("item_users_7d", "item_demand", "Item: users, last 7 days", "count"),
        ("user_last_event_at", "user_state", "User: days since last event", "days"),
        ("item_gap_days", "item_state", "Item: gap in days", "days"),
        ("user_credit_score", "user_state", "User: credit score", None),
    ],
)
def test_a_new_column_of_a_mart_is_described_by_its_name(name: str, family: str, label: str, unit: str | None) -> None:
    feature = describe_feature(name)
    assert (feature.family, feature.label, feature.unit) == (family, label, unit)


def test_a_column_reaches_the_registry_under_its_prefix() -> None:
    (name,) = numeric_columns(pa.table({"visits_14d": [3]}), np.zeros(1))
    assert describe_feature(f"user_{name}").family == "user_state"


def test_an_item_s_labels_are_looked_up_in_what_the_user_s_events_are_of(world: World) -> None:
    scored = Scored.by([Popularity.fit(world.history, world.context)], world.users, world.items)
    found = propose(scored, world.users, world.catalogue, world.items)
    labels = world.catalogue.table["labels"].to_pylist()
    worn = [dict(zip(row["affinity_labels"], row["affinity_label_shares"], strict=True)) for row in world.user_rows]
    assert len(found) > 100
    for place, (user, item) in enumerate(zip(found.user, found.item, strict=True)):
        best, mean = (found.columns[name][place] for name in ("label_affinity", "label_mean_affinity"))
        shares = [worn[user].get(label, 0.0) for label in labels[item] or ()]
        if shares:
            assert (best, mean) == pytest.approx((max(shares), sum(shares) / len(shares)))
        else:
            assert np.isnan([best, mean]).all()


def test_where_no_item_has_labels_no_feature_is_made_of_them(world: World) -> None:
    plain = Catalogue(world.catalogue.table.drop_columns("labels"))
    scored = Scored.by([Popularity.fit(world.history, world.context)], world.users, world.items)
    columns = propose(scored, world.users, plain, world.items).columns
    assert not [name for name in columns if name.startswith("label_")]
    assert (plain.kind == world.catalogue.kind).all()  # of a path, whatever the labels


def test_without_a_path_the_set_of_labels_is_the_kind() -> None:
    ids, labels = ["a", "b", "c", "d"], [["War", "Drama"], ["Drama", "War"], ["War"], None]
    blank = {name: [None] * 4 for name in ("brand", "department", "category", "category_path", "price")}
    items = Catalogue.of(pa.table({"item_id": ids, "title": ids, "document": ids, "labels": labels, **blank}), ids)
    assert items.kind[0] == items.kind[1] != items.kind[2]
    assert items.kind[3] == -1
    assert (items.label_names, items.label_codes.tolist()) == (["Drama", "War"], [[0, 1], [0, 1], [1, -1], [-1, -1]])
