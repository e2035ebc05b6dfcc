"""Moments inside baskets, and what goes with a session: on a small world where the right answer can be proved."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.model.checkerboard import N_ITEMS, World
from training.ranking.session_moments import LEAST, moments_inside, session_rows
from zhiyin.recommender.candidates import Session
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.session import Signals, after_events
from zhiyin.recommender.state.users import Users

NOW = datetime(2020, 3, 1, tzinfo=UTC).timestamp()
HOUR = 3_600.0


def log(*baskets: tuple[int, float, list[int]]) -> History:
    """Baskets as (user, hours from now, items), users and moments ascending."""
    rows = [(user, hours, number, item) for number, (user, hours, items) in enumerate(baskets) for item in items]
    user, hours, basket, item = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    numbers = np.ones(n, np.float32)
    at = NOW + hours * HOUR
    return History(
        user, item, basket, np.full(n, 5), numbers, numbers, at, ["a", "b", "c"], N_ITEMS, float(at.max() + 1)
    )


def test_half_of_a_basket_is_known_and_the_other_half_is_the_answer() -> None:
    history = log(
        (0, -5, [0, 1, 2, 3]),
        (0, 1, [7]),
        (0, 2, [0, 1, 2, 3, 4, 5]),
        (0, 9, [6, 7, 8, 9]),
        (1, 3, [0, 1, 2]),
        (2, 4, [1, 3, 5, 7]),
    )
    moments = moments_inside(history, NOW, NOW + 8 * HOUR, seed=0)
    assert moments.user.tolist() == [0, 2]  # user b took fewer than LEAST items
    assert moments.at.tolist() == [NOW + 2 * HOUR, NOW + 4 * HOUR]
    events, answer = moments.events(history), moments.answer(history)
    for place, (basket, before) in enumerate((({0, 1, 2, 3, 4, 5}, {7}), ({1, 3, 5, 7}, set()))):
        known = set(events.item[events.user == place].tolist())
        rest = set((answer[answer // N_ITEMS == place] % N_ITEMS).tolist())
        assert before <= known
        assert (known - before) | rest == basket
        assert not (known - before) & rest
        assert len(rest) == len(basket) - len(basket) // 2
    assert LEAST == 4


def test_of_each_user_some_baskets_and_only_of_those_who_take_part() -> None:
    history = log((0, 1, [0, 1, 2, 3]), (0, 2, [4, 5, 6, 7]), (0, 3, [8, 9, 10, 11]), (1, 1, [0, 1, 2, 3]))
    assert moments_inside(history, NOW, NOW + 8 * HOUR, 0, each=2).user.tolist() == [0, 0, 1]
    assert moments_inside(history, NOW, NOW + 8 * HOUR, 0, users=np.array([False, True, True])).user.tolist() == [1]
    assert len(moments_inside(history, NOW + 8 * HOUR, NOW + 9 * HOUR, 0)) == 0


def test_the_second_of_two_baskets_knows_the_first_whole() -> None:
    history = log((0, 1, [0, 1, 2, 3]), (0, 2, [4, 5, 6, 7]))
    moments = moments_inside(history, NOW, NOW + 8 * HOUR, 0, each=2)
    events = moments.events(history)
    assert {0, 1, 2, 3} <= set(events.item[events.user == 1].tolist())


@pytest.fixture(scope="module")
def session(world: World) -> Session:
    return Session.fit(world.history, world.context)


def users_with(world: World, *signals: tuple[int, float, str]) -> Users:
    """The first user with a session of (item or -1, weight, words)."""
    item, weight, query = (np.array(column) for column in zip(*signals, strict=True))
    n = len(item)
    said = Signals(
        np.zeros(n, np.int64),
        item,
        weight.astype(np.float32),
        np.zeros(n, bool),
        query.astype(object),
        np.ones(1, bool),
    )
    return replace(world.users.rows(0, 1), session=said)


def test_a_session_proposes_what_is_like_it(world: World, session: Session) -> None:
    for item, query in ((1, ""), (-1, "salty things")):  # odd items are salty
        (scores,) = session.score(users_with(world, (item, 1.0, query)), world.items)
        odd = np.arange(N_ITEMS) % 2 == 1
        assert scores[odd].min() > scores[~odd].max()


def test_without_a_session_and_for_what_was_refused_nothing_is_proposed(world: World, session: Session) -> None:
    assert not np.isfinite(session.score(world.users, world.items)).any()
    assert not np.isfinite(session.score(users_with(world, (1, -1.0, "")), world.items)).any()
    assert not np.isfinite(session.score(users_with(world, (-1, 1.0, "unheard of")), world.items)).any()


def test_it_is_the_same_after_it_was_saved(world: World, session: Session, tmp_path) -> None:  # type: ignore[no-untyped-def]
    session.save(tmp_path)
    users = users_with(world, (1, 1.0, ""), (2, 0.3, ""))
    again = Session.load(tmp_path, world.context)
    np.testing.assert_allclose(again.score(users, world.items), session.score(users, world.items), rtol=1e-6)


def test_rows_of_the_ranker_have_the_sessions_features_and_the_rest_as_label(world: World, session: Session) -> None:
    history = log((0, 1, list(range(6))), (1, 2, list(range(6, 12))))
    moments = moments_inside(history, NOW, NOW + 8 * HOUR, seed=0)
    before = world.users.rows(0, 2)
    rows = session_rows(history, moments, before, [session], world.items, world.catalogue, 1.0, 0)
    assert rows is not None
    assert {"session_score", "session_rank"} <= set(rows.names)
    assert rows.label.sum() == 6
    live = after_events(before, moments.events(history), moments.at, world.catalogue, ["purchase"])
    assert live.session is not None
    assert live.session.current.all()
    assert live.at.tolist() == moments.at.tolist()
