"""A stored state goes on with what its user did since: as the log would have changed it, and as the session says."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests.model.checkerboard import catalogue
from zhiyin.recommender.features import Candidates
from zhiyin.recommender.slate.session import AGAINST_CATEGORY, AGAINST_KIND, GOES_WITH, follow_session, refused
from zhiyin.recommender.state.follow import Events, follow
from zhiyin.recommender.state.grades import Scale
from zhiyin.recommender.state.session import SAYS, follow_sessions, in_session, with_session
from zhiyin.recommender.state.users import Affinity, Repeats, Sequence, Users

MIDNIGHT = datetime(2017, 12, 1, tzinfo=UTC)
ITEMS = catalogue()
DAY = 86_400.0
Row = dict[str, Any]


def row(**columns: Any) -> Row:
    """A user who took i000 twice and i001 once."""
    at = MIDNIGHT.timestamp()
    return {
        "user_id": "u",
        "feature_at": MIDNIGHT,
        "events_7d": 1,
        "baskets_7d": 1,
        "repeat_item_ids": ["i001", "i000"],
        "repeat_baskets": [1, 2],
        "repeat_quantities": [1.0, 3.0],
        "repeat_first_at": [int(at - 2 * DAY), int(at - 20 * DAY)],
        "repeat_last_at": [int(at - 2 * DAY), int(at - 10 * DAY)],
        "repeat_decayed_short": [0.5 ** (2 / 14), 0.5 ** (10 / 14) + 0.5 ** (20 / 14)],
        "repeat_decayed_long": [0.5 ** (2 / 90), 0.5 ** (10 / 90) + 0.5 ** (20 / 90)],
        "repeat_mean_gap_days": [-1.0, 10.0],
        "sequence_item_ids": ["i000", "i000", "i001"],
        "sequence_types": ["purchase"] * 3,
        "sequence_at": [int(at - days * DAY) for days in (20, 10, 2)],
        "sequence_values": [2.0, 1.0, 1.0],
        "sequence_baskets": [0, 1, 2],
        **columns,
    }


def live(given: Row, *events: tuple[str, str, float], at: float | None = None, types: Any = ("purchase",)) -> Users:
    """The user after events (item or words, type, hours after midnight), at so many hours after midnight."""
    start = MIDNIGHT.timestamp()
    session = {
        "session_item_ids": ["" if kind == "search" else item for item, kind, _ in events],
        "session_types": [kind for _, kind, _ in events],
        "session_at": [start + hours * 3_600 for _, _, hours in events],
        "session_values": [1.0] * len(events),
        "session_amounts": [2.5] * len(events),
        "session_baskets": [f"b{hours}" for _, _, hours in events],
        "session_queries": [item if kind == "search" else "" for item, kind, _ in events],
    }
    rows = [with_session(given, session, None if at is None else start + at * 3_600)]
    return follow_sessions(Users.of(rows, ITEMS, start), rows, ITEMS, types)


def of(users: Users, item: str) -> dict[str, float]:
    """The entry of the repeats."""
    (place,) = np.flatnonzero(users.repeats.item == ITEMS.item_ids.index(item))
    return {name: float(values[place]) for name, values in vars(users.repeats).items()}


def test_a_purchase_changes_count_recency_gap_decay_window_and_sequence() -> None:
    users = live(row(), ("i000", "purchase", 12), at=24)
    habit = of(users, "i000")
    assert habit["baskets"] == 3
    assert habit["quantity"] == 4
    assert habit["last_days"] == pytest.approx(0.5)
    assert habit["gap_days"] == pytest.approx(20.5 / 2)
    assert habit["long"] == pytest.approx(sum(0.5 ** (days / 90) for days in (0.5, 11, 21)))
    assert of(users, "i001")["last_days"] == pytest.approx(3)  # a day has gone by for all else
    assert users.at[0] == MIDNIGHT.timestamp() + DAY
    assert users.columns["events_7d"][0] == 2
    assert [ITEMS.item_ids[item] for item in users.sequence.item] == ["i000", "i000", "i001", "i000"]
    assert users.sequence.basket.tolist() == [0, 1, 2, 3]


def test_a_window_loses_what_has_grown_too_old() -> None:
    users = live(row(), ("i003", "purchase", 24 * 6), at=24 * 6)
    assert users.columns["events_7d"][0] == 1  # i001 is eight days old by then
    assert users.columns["baskets_7d"][0] == 1


def test_events_before_the_state_and_of_types_that_were_not_learned_change_no_count() -> None:
    users = live(row(), ("i000", "purchase", -1), ("i002", "view", 1))
    assert of(users, "i000")["baskets"] == 2
    assert len(users.sequence.item) == 3
    assert users.session is not None
    assert users.session.weight.tolist() == pytest.approx(
        [SAYS["purchase"] / 2, SAYS["view"]]  # two hours before the request
    )
    assert len(live(row(), ("i002", "view", 1), types=("purchase", "view")).sequence.item) == 4


def test_the_moment_is_the_requests_and_never_before_an_event() -> None:
    assert live(row(), ("i000", "purchase", 3)).at[0] == MIDNIGHT.timestamp() + 3 * 3_600
    assert live(row(), ("i000", "purchase", 3), at=2).at[0] == MIDNIGHT.timestamp() + 3 * 3_600
    current = live(row(), ("i000", "purchase", 3), at=5).session
    assert current is not None
    assert not current.current[0]


def test_without_an_event_the_state_only_grows_older() -> None:
    start = MIDNIGHT.timestamp()
    rows = [with_session(row(), None, start + 12 * 3_600)]
    users = follow_sessions(Users.of(rows, ITEMS, start), rows, ITEMS, ["purchase"])
    assert users.session is None
    assert of(users, "i001")["last_days"] == pytest.approx(2.5)
    assert of(users, "i001")["baskets"] == 1


def test_someone_of_whom_only_a_view_is_known_is_known() -> None:
    users = live({"user_id": "new"}, ("i002", "view", 1))
    assert users.known.tolist() == [True]
    assert not users.with_history[0]


def test_a_session_is_over_after_a_pause() -> None:
    start = MIDNIGHT.timestamp()
    assert in_session({"session_at": [start], "session_requested_at": start + 60})
    assert not in_session({"session_at": [start], "session_requested_at": start + 3_600})
    assert not in_session({"user_id": "u"})


def test_to_follow_in_two_steps_is_to_follow_in_one() -> None:
    random = np.random.default_rng(0)
    n, at = 400, MIDNIGHT.timestamp()
    moments = np.sort(random.uniform(at - 40 * DAY, at, n))
    user = random.integers(0, 3, n)
    order = np.lexsort((moments, user))
    events = Events(
        user[order],
        random.integers(0, len(ITEMS), n),
        moments[order],
        np.full(n, 5),
        np.ones(n, np.float32),
        np.full(n, 2.0, np.float32),
        np.arange(n),
    )
    nobody = Users.unknown(["a", "b", "c"], np.full(3, at))
    whole = follow(nobody, events, np.full(3, at), ITEMS, ["purchase"])
    half = np.full(3, at - 10 * DAY)
    early = events.at < half[0]
    first = follow(replace(nobody, at=half), events.where(early), half, ITEMS, ["purchase"])
    both = follow(first, events.where(~early), np.full(3, at), ITEMS, ["purchase"])
    assert both.columns.keys() == whole.columns.keys()
    for name, values in whole.columns.items():
        np.testing.assert_allclose(both.columns[name], values, rtol=1e-4, err_msg=name)
    parts: tuple[tuple[Repeats | Sequence | Affinity, Repeats | Sequence | Affinity], ...] = (
        (both.repeats, whole.repeats),
        (both.sequence, whole.sequence),
        (both.affinity, whole.affinity),
        (both.label_affinity, whole.label_affinity),
    )
    for one, two in parts:
        for name, numbers in vars(two).items():
            np.testing.assert_allclose(getattr(one, name), numbers, rtol=1e-4, atol=1e-5, err_msg=name)


def candidates(**columns: Any) -> Candidates:
    n = len(ITEMS)
    return Candidates(np.zeros(n, np.int64), np.arange(n), {name: np.array(values) for name, values in columns.items()})


SCORES = np.linspace(-1, 1, len(ITEMS))


def test_what_was_refused_is_not_listed_and_its_kind_falls_by_the_stated_amount() -> None:
    users = live(row(), ("i004", "dismiss", 1))
    assert [ITEMS.item_ids[item] for item in refused(users)[1]] == ["i004"]
    moved = (SCORES - follow_session(SCORES, candidates(), users, ITEMS, True)) / SCORES.std()
    same_kind = ITEMS.kind == ITEMS.kind[4]
    assert same_kind.sum() < len(ITEMS)
    np.testing.assert_allclose(moved, np.where(same_kind, AGAINST_KIND, 0), atol=1e-6)
    assert AGAINST_CATEGORY <= AGAINST_KIND


def test_a_grade_below_the_users_usual_is_a_refusal_and_one_above_is_none() -> None:
    graded = row(graded_item_ids=["i000"], grades=[4.0])
    users = replace(live(graded), scale=Scale(3.5, 1.0))
    assert users.session is None
    for grade, says in ((1.0, -1.0), (5.0, SAYS["rating"])):
        start = MIDNIGHT.timestamp()
        session: Row = {f"session_{name}": [""] for name in ("queries", "baskets")}
        session |= {"session_item_ids": ["i006"], "session_types": ["rating"], "session_at": [start + 1]}
        session |= {"session_values": [grade], "session_amounts": [-1.0]}
        rows = [with_session(graded, session)]
        stored = replace(Users.of(rows, ITEMS, start), scale=Scale(3.5, 1.0))
        after = follow_sessions(stored, rows, ITEMS, ["rating"])
        assert after.session is not None
        assert after.session.weight.tolist() == pytest.approx([says])


def test_where_no_grade_was_learned_a_live_grade_is_held_against_the_other_live_ones() -> None:
    start = MIDNIGHT.timestamp()
    session: Row = {f"session_{name}": ["", ""] for name in ("queries", "baskets")}
    session |= {"session_item_ids": ["i006", "i007"], "session_types": ["rating"] * 2, "session_at": [start, start]}
    session |= {"session_values": [1.0, 5.0], "session_amounts": [-1.0, -1.0]}
    rows = [with_session(row(), session)]
    after = follow_sessions(Users.of(rows, ITEMS, start), rows, ITEMS, ["purchase"])
    assert after.session is not None
    assert after.session.weight.tolist() == pytest.approx([-1.0, SAYS["rating"]])


def test_a_view_lifts_what_goes_with_it_by_a_bounded_amount() -> None:
    users = live(row(), *((f"i{item:03d}", "purchase", 0.1) for item in range(12)), ("i002", "view", 1))
    fits = np.zeros(len(ITEMS))
    fits[[3, 5]] = 2.0, 1.0
    moved = follow_session(SCORES, candidates(session_score=fits), users, ITEMS, True) - SCORES
    bound = GOES_WITH * SAYS["view"] * SCORES.std()
    assert moved[3] == pytest.approx(bound)
    assert moved[5] == pytest.approx(bound / 2)
    assert not moved[[0, 1, 2, 4]].any()
