"""In a log of several kinds of events a view is no outcome: neither an answer to learn nor a basket of a habit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.model.checkerboard import catalogue, interactions
from training.log_states import read_users
from training.protocols import LeaveOneOut, NextDays
from zhiyin.recommender.features.compute import _rhythm
from zhiyin.recommender.state.history import History, taken_codes

CUT = datetime(2020, 3, 1, tzinfo=UTC)
ITEMS = catalogue(6)
VIEW, PURCHASE = "view", "purchase"


def log_of(events, end=14):
    """Of (user, item, days after the cut, type); each event is a basket of its own."""
    rows = [
        (f"u{user}", f"i{item:03d}", f"b{n:03d}", CUT + timedelta(days=day))
        for n, (user, item, day, _) in enumerate(events)
    ]
    table = interactions(rows)
    types = pa.array([kind for *_, kind in events])
    table = table.set_column(table.column_names.index("event_type"), "event_type", types)
    return History.of(table, ITEMS, CUT + timedelta(days=end))


def answers(split):
    users = [split.log.user_ids[index] for index in split.user]
    return {(users[user], int(item)) for user, item in zip(split.true_user, split.true_item, strict=True)}


MIXED = [
    *[(0, 0, -5, PURCHASE), (0, 1, -4, VIEW), (1, 0, -3, PURCHASE), (1, 1, -2, PURCHASE)],
    *[(0, 1, 1, PURCHASE), (0, 0, 2, VIEW), (1, 0, 3, VIEW), (1, 1, 4, VIEW)],
]


@pytest.mark.parametrize("repeats", [True, False])
def test_what_was_viewed_is_no_answer_where_users_buy(repeats):
    split = NextDays(CUT, 14, repeats=repeats, least=1).split(log_of(MIXED), ITEMS)
    assert answers(split) == {("u0", 1)}  # which u0 had viewed before, and not bought
    assert answers(split.discoveries()) == {("u0", 1)}


def test_in_a_log_of_views_alone_views_are_the_answer():
    views = [(user, item, day, VIEW) for user, item, day, _ in MIXED]
    split = NextDays(CUT, 14, repeats=True, least=1).split(log_of(views), ITEMS)
    assert answers(split) == {("u0", 0), ("u0", 1), ("u1", 0), ("u1", 1)}


def test_the_last_thing_that_was_taken_is_left_out_and_what_came_after_it_is_unknown():
    events = [(0, 0, -9, PURCHASE), (0, 1, -8, VIEW), (0, 1, -7, PURCHASE), (0, 2, -6, VIEW), (1, 3, -5, VIEW)]
    split = LeaveOneOut().split(log_of(events, 0), ITEMS)
    assert answers(split) == {("u0", 1)}
    assert (split.at == (CUT + timedelta(days=-7)).timestamp()).all()
    assert split.log.item.tolist() == [0, 1, 3]


def test_a_view_is_no_basket_of_a_habit():
    bought = [(0, 0, -20, PURCHASE), (0, 0, -10, PURCHASE), (0, 1, -5, PURCHASE)]
    viewed = [(0, 0, day, VIEW) for day in (-15, -8, -3, -2, -1)]
    at, user = np.array([CUT.timestamp()]), np.array([0])

    def rhythm(log):
        users = read_users(log, user, at, ITEMS)
        return {name: float(of[0]) for name, of in _rhythm(users, user, user, np.arange(6), 6, "item").items()}

    expected = rhythm(log_of(bought, 0))
    assert expected["item_recent_baskets"] == 2
    assert expected["item_baskets_since"] == 1
    assert rhythm(log_of([*bought, *viewed], 0)) == pytest.approx(expected, nan_ok=True)
    # Where nobody buys, views are what there is.
    views = log_of([(user, item, day, VIEW) for user, item, day, _ in [*bought, *viewed]], 0)
    assert rhythm(views)["item_recent_baskets"] == 7


def test_training_and_serving_are_told_of_the_same_types():
    log = log_of(MIXED)
    users = read_users(log, np.array([0]), np.array([CUT.timestamp()]), ITEMS)
    assert users.taken_types == taken_codes(log.event_types) == taken_codes([PURCHASE, VIEW])
    assert replace(users, taken_types=()).taken_types == ()
