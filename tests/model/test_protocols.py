"""Each protocol's split on a small log, and that nothing of the answer reaches a model."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.model.checkerboard import catalogue, interactions
from training.log_states import LogStates, read_users
from training.protocols import ColdItems, ColdUsers, LeaveOneOut, NextDays, window
from zhiyin.recommender.state.history import History

CUT = datetime(2020, 3, 1, tzinfo=UTC)
ITEMS = catalogue(6)


def event(user, item, days, basket=None):
    """An event so many days after the cut."""
    at = CUT + timedelta(days=days)
    return (f"u{user}", f"i{item:03d}", basket or f"b{user}{days}", at)


def log_of(rows, end):
    return History.of(interactions(rows), ITEMS, CUT + timedelta(days=end))


BEFORE = [event(0, 0, -5), event(0, 1, -4), event(1, 0, -3), event(1, 1, -2), event(2, 0, -1), event(2, 1, -1)]
AFTER = [event(0, 0, 0), event(0, 2, 1), event(1, 2, 2), event(1, 1, 13.9), event(1, 3, 2), event(2, 1, 14)]


def pairs(split):
    users = [split.log.user_ids[index] for index in split.user]
    return {(users[user], int(item)) for user, item in zip(split.true_user, split.true_item, strict=True)}


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [(True, {("u0", 0), ("u0", 2), ("u1", 2), ("u1", 1)}), (False, {("u0", 2), ("u1", 2)})],
)
def test_next_days_is_what_came_in_the_days_of_items_known_enough_before(repeats, expected):
    known = [event(3, 2, -6), event(3, 2, -5.5)]
    log = log_of(BEFORE + known + AFTER, 14)
    split = NextDays(CUT, 14, repeats, least=2).split(log, ITEMS)
    assert pairs(split) == expected  # item 3 was never seen before the cut; day 14 is past the window
    assert split.candidates.tolist() == [True, True, True, False, False, False]
    assert len(split.log) == len(BEFORE + known)
    assert split.log.at.max() < CUT.timestamp()
    assert (split.at == CUT.timestamp()).all()


def test_next_days_past_the_marts_names_the_cure():
    with pytest.raises(ValueError, match="choose a cut until 2020-03-01"):
        NextDays(CUT + timedelta(days=1)).end(CUT + timedelta(days=14))


def test_leave_one_out_takes_the_last_of_tied_events_by_their_order_and_leaves_the_rest():
    tied = [event(0, item, -1 + item / 86_400e6, f"b{item}") for item in (3, 1, 2)]  # a microsecond apart
    log = log_of([event(0, 0, -2), *tied, event(1, 5, -1), event(2, 1, -3), event(2, 4, -2)], 0)
    split = LeaveOneOut().split(log, ITEMS)
    assert pairs(split) == {("u0", 3), ("u2", 4)}  # u1 has a single event
    assert len(split.log) == len(log) - 2
    assert pairs(LeaveOneOut().validation(log, ITEMS)) == {("u0", 2)}


def test_cold_items_never_enter_the_log_and_only_late_events_are_asked_for():
    rows = [event(user, item, -100 + 10 * user + item) for user in range(10) for item in range(6)]
    log = log_of(rows, 0)
    split = ColdItems(share=1 / 3, late=0.2).split(log, ITEMS)
    cold = np.flatnonzero(split.candidates)
    assert len(cold) == 2
    assert not np.isin(split.log.item, cold).any()
    assert len(split.log) == len(rows) * 2 // 3
    late = sorted(rows, key=lambda row: row[3])[-12:]
    assert pairs(split) == {(row[0], int(row[1][1:])) for row in late if int(row[1][1:]) in cold}


@pytest.mark.parametrize("known", [0, 1])
def test_of_cold_users_the_log_holds_the_first_baskets_alone(known):
    rows = [event(user, (user + visit) % 6, -60 + 20 * visit + user) for user in range(8) for visit in range(3)]
    log = log_of(rows, 0)
    split = ColdUsers(known, share=0.5, days=14).split(log, ITEMS)
    assert len(split) == 4
    counts = np.bincount(split.log.user, minlength=log.n_users)
    assert (counts[split.user] == known).all()
    assert sorted(counts) == [known] * 4 + [3] * 4
    # Asked is what came in the 14 days from the first event that is held out: visits are 20 days apart.
    assert pairs(split) == {(name := log.user_ids[user], (int(name[1:]) + known) % 6) for user in split.user}
    first = {(row[0], row[1]): row[3].timestamp() for row in rows}
    expected = [first[name, f"i{(int(name[1:]) + known) % 6:03d}"] for name in (log.user_ids[u] for u in split.user)]
    assert split.at.tolist() == expected
    again = ColdUsers(known, share=0.5).validation(log, ITEMS)
    assert not set(again.user) & set(split.user)
    users = read_users(split.log, split.user, split.at, ITEMS)
    assert users.with_history.tolist() == [bool(known)] * 4


@pytest.mark.parametrize(
    "protocol", [NextDays(CUT, 14, least=1), LeaveOneOut(), ColdItems(share=0.3, of_present=True), ColdUsers(share=0.5)]
)
def test_a_planted_event_of_the_answer_changes_nothing_that_a_model_reads(protocol):
    rows = BEFORE + [event(user, 2, -4) for user in range(3)] + AFTER[:4]
    log = log_of(rows, 14)
    split = protocol.split(log, ITEMS)
    # In the place of each held-out event stands another item, with another value.
    order = ("user", "item", "at")
    left = set(zip(*(getattr(split.log, name).tolist() for name in order), strict=True))
    held = [row not in left for row in zip(*(getattr(log, name).tolist() for name in order), strict=True)]
    other = {"next_days": 2, "leave_one_out": 5, "cold_users": 4, "cold_items": np.flatnonzero(split.candidates)[-1]}[
        protocol.name
    ]
    numbers = {name: np.where(held, 99.0, getattr(log, name)) for name in ("value", "amount")}
    planted = replace(log, item=np.where(held, other, log.item), **numbers)
    again = protocol.split(planted, ITEMS)
    for name in ("user", "item", "basket", "at", "value", "amount"):
        np.testing.assert_array_equal(getattr(again.log, name), getattr(split.log, name))
    everyone = np.arange(log.n_users)
    one, two = (read_users(each.log, everyone, np.full(log.n_users, each.log.cut), ITEMS) for each in (split, again))
    np.testing.assert_array_equal(one.repeats.item, two.repeats.item)
    np.testing.assert_array_equal(one.columns["events_28d"], two.columns["events_28d"])


def test_item_states_know_nothing_of_a_cold_item():
    rows = [event(user, item, -100 + 10 * user + item) for user in range(10) for item in range(6)]
    protocol = ColdItems(share=1 / 3)
    split = protocol.split(log_of(rows, 0), ITEMS)
    state = LogStates(ITEMS).items(split.log, split.log.cut, 0)
    assert np.isnan(state.columns["events_90d"][split.candidates]).all()
    assert (state.columns["events_90d"][~split.candidates] > 0).all()


def test_an_item_whose_ninth_and_tenth_event_lie_in_the_label_window_is_no_candidate_of_it():
    """Counts decide what may be listed at a moment, and the catalogue holds every item whatever its counts."""
    seldom = [event(user, 4, -60 + user) for user in range(8)] + [event(8, 4, 1), event(9, 4, 2)]
    often = [event(user, 1, -60 + user) for user in range(10)] + [event(0, 1, 1)]
    log = log_of(seldom + often, 14)
    before = log.before(CUT)
    items = LogStates(ITEMS).items(before, before.cut, 10)
    split = window(log, before, CUT, 14, items.eligible, True)
    assert np.flatnonzero(split.candidates).tolist() == [1]
    assert pairs(split) == {("u0", 1)}
    after = LogStates(ITEMS).items(log, log.cut, 10)
    assert np.flatnonzero(after.eligible).tolist() == [1, 4]


def test_a_new_item_may_be_listed_before_it_has_the_events_that_others_need():
    log = log_of([event(0, 2, -3)] + [event(user, 1, -60 + user) for user in range(10)], 0)
    assert np.flatnonzero(LogStates(ITEMS).items(log, log.cut, 10).eligible).tolist() == [1, 2]
    later = log_of([event(0, 2, -40)] + [event(user, 1, -60 + user) for user in range(10)], 0)
    assert np.flatnonzero(LogStates(ITEMS).items(later, later.cut, 10).eligible).tolist() == [1]


def test_what_is_left_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="too little data"):
        NextDays(CUT, 14, least=3).split(log_of(BEFORE, 14), ITEMS)
