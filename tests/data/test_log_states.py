"""The states that are read off a log are those of the marts, in every column and every row."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import feature_repo
from tests.data.homes import LATE, Warehouse
from training.log_states import ITEM_FACTS, USER_FACTS, read_items, read_users
from zhiyin.contract import USER_ID
from zhiyin.recommender.state.affinity import MOST_GROUPS
from zhiyin.recommender.state.catalogue import Catalogue, ItemState, epoch_seconds
from zhiyin.recommender.state.follow import LENGTH, Events, follow
from zhiyin.recommender.state.history import History, read_interactions
from zhiyin.recommender.state.users import Users

MOMENTS = (LATE.as_of, LATE.served_cuts[0])  # the second lies on the grid, and an increment has made its states


@pytest.fixture(scope="module")
def states(warehouse: Warehouse) -> dict[str, pa.Table]:
    """What Feast reads of the marts at the snapshots, of users and items."""
    feature_repo.apply(warehouse.settings)
    folder = feature_repo.read_offline(warehouse.settings, LATE)
    return {name: pq.read_table(folder / f"{name}.parquet") for name in ("users", "items")}


@pytest.fixture(scope="module")
def catalogue(warehouse: Warehouse) -> Catalogue:
    """Every item, however rare."""
    items = pq.read_table(warehouse.marts.path("items"))
    return Catalogue.of(items, items["item_id"].to_pylist())


def log_before(warehouse: Warehouse, catalogue: Catalogue, moment: datetime) -> History:
    return History.of(read_interactions(warehouse.marts.path("interactions")), catalogue, moment)


def same(found: np.ndarray, expected: np.ndarray, name: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("moment", MOMENTS)
def test_users(warehouse: Warehouse, states: dict[str, pa.Table], catalogue: Catalogue, moment: datetime) -> None:
    log = log_before(warehouse, catalogue, moment)
    table = states["users"].filter(pa.array(epoch_seconds(states["users"]["feature_at"]) == moment.timestamp()))
    active = np.unique(log.user)
    assert 0 < len(active) <= table.num_rows
    ids = pa.array([log.user_ids[user] for user in active])
    rows = table.take(pc.index_in(ids, value_set=table[USER_ID].combine_chunks().cast(pa.string())))
    marts = Users.of(rows, catalogue, moment.timestamp())
    mine = read_users(log, active, np.full(len(active), moment.timestamp()), catalogue)

    assert mine.ids == marts.ids
    assert marts.columns.keys() - mine.columns.keys() == set(USER_FACTS)
    for name, values in mine.columns.items():
        same(values, marts.columns[name], name)
    assert len(log) > len(mine.sequence.item)  # some histories exceed a sequence
    for name, numbers in vars(mine.sequence).items():
        np.testing.assert_array_equal(numbers, getattr(marts.sequence, name), err_msg=name)
    # Lists of habits and affinities say nothing by their order.
    for part, key in (("repeats", "item"), ("affinity", "code")):
        one, two = getattr(mine, part), getattr(marts, part)
        first, second = (np.lexsort((getattr(each, key), each.user)) for each in (one, two))
        for name, numbers in vars(one).items():
            same(numbers[first], getattr(two, name)[second], name)


ROUGH = {"amount_28d"}  # money leaves a window at the user's mean


def test_a_stored_state_and_the_real_events_after_it_are_the_marts_of_the_later_moment(
    warehouse: Warehouse, states: dict[str, pa.Table], catalogue: Catalogue
) -> None:
    """A live session of two weeks, column by column; exact where the stored sequence holds the windows' events."""
    early, late = (moment.timestamp() for moment in MOMENTS[::-1])
    log = log_before(warehouse, catalogue, MOMENTS[0])
    active = np.unique(log.user)
    ids = pa.array([log.user_ids[user] for user in active])

    def marts_at(at: float) -> Users:
        table = states["users"].filter(pa.array(epoch_seconds(states["users"]["feature_at"]) == at))
        rows = table.take(pc.index_in(ids, value_set=table[USER_ID].combine_chunks().cast(pa.string())))
        return Users.of(rows.set_column(rows.column_names.index(USER_ID), USER_ID, ids), catalogue, at)

    stored, rebuilt = marts_at(early), marts_at(late)
    new = log.where(log.at >= early)
    assert len(new) > 100
    place = np.searchsorted(active, new.user)
    events = Events(place, new.item, new.at, new.type, new.value, new.amount, new.basket)
    mine = follow(stored, events, np.full(len(active), late), catalogue, ["purchase"])

    whole = np.bincount(stored.sequence.user, minlength=len(active)) < LENGTH
    assert whole.sum() > 10
    for name in mine.columns.keys() - ROUGH - set(USER_FACTS):
        same(mine.columns[name][whole], rebuilt.columns[name][whole], name)
    one, two = (users.take(np.flatnonzero(whole)) for users in (mine, rebuilt))
    for name, numbers in vars(one.sequence).items():
        np.testing.assert_array_equal(numbers, getattr(two.sequence, name), err_msg=name)
    first, second = (np.lexsort((each.repeats.item, each.repeats.user)) for each in (one, two))
    for name, numbers in vars(one.repeats).items():
        found, expected = numbers[first], getattr(two.repeats, name)[second]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=name)
    shares = np.zeros((2, len(one), len(catalogue.categories)))
    for place, users in enumerate((one, two)):
        shares[place, users.affinity.user, users.affinity.code] = users.affinity.share
    complete = np.bincount(stored.take(np.flatnonzero(whole)).affinity.user, minlength=len(one)) < MOST_GROUPS
    np.testing.assert_allclose(shares[0][complete], shares[1][complete], atol=1e-4)
    np.testing.assert_allclose(shares[0], shares[1], atol=1e-2)  # of more categories the weakest are not stored


@pytest.mark.parametrize("moment", MOMENTS)
def test_items(warehouse: Warehouse, states: dict[str, pa.Table], catalogue: Catalogue, moment: datetime) -> None:
    marts = ItemState.of(states["items"], catalogue, moment)
    mine = read_items(log_before(warehouse, catalogue, moment), moment.timestamp(), marts.eligible, {})
    assert marts.columns.keys() - mine.columns.keys() == set(ITEM_FACTS)
    for name, values in mine.columns.items():
        assert np.isfinite(values).any()
        same(values, marts.columns[name], name)
