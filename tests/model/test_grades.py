"""A grade is no liking: what is below the user's own usual counts against items like it, and no reason names it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.model.checkerboard import N_ITEMS, NOW, World, interactions, user_rows
from training.log_states import read_users
from zhiyin.language.words import Wording
from zhiyin.recommender.candidates import KINDS, CandidateGenerator, PeopleAlike
from zhiyin.recommender.encoder.interest_encoder import InterestEncoder
from zhiyin.recommender.explanation import gather_evidence
from zhiyin.recommender.explanation.together import Together
from zhiyin.recommender.features import Scored, propose
from zhiyin.recommender.features.registry import EVIDENCE_KINDS
from zhiyin.recommender.state.grades import AGAINST, DISLIKED, RATING, SHRINK, UNKNOWN_SCALE, Scale
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

SCALE = Scale(3.0, 1.0)
LIKED, BAD = [0, 2, 3], 1  # sweet items and a salty one with a 5, and a salty one with a 1
PROFILED = [KINDS[name] for name in ("item_to_item", "item_knn", "ials", "text_neighbours", "content")]


def rated(world: World, grades: dict[int, float]) -> Users:
    """A user who rated some items at one time."""
    events = [("u00", f"i{item:03d}", f"b{item}", NOW) for item in grades]
    (row,) = user_rows(events, NOW.replace(day=2))
    given = {f"i{item:03d}": grade for item, grade in grades.items()}
    row |= {
        "graded_item_ids": row["repeat_item_ids"],
        "grades": [given[item] for item in row["repeat_item_ids"]],
        "sequence_types": ["rating"] * len(grades),
        "sequence_values": [given[item] for item in row["sequence_item_ids"]],
    }
    return replace(Users.of([row], world.catalogue, NOW.timestamp()), scale=SCALE)


def test_the_usual_grade_is_the_user_s_mean_shrunk_towards_the_log_s() -> None:
    user, grade = np.array([0, 0, 1, 2]), np.array([5.0, 4.0, np.nan, 1.0], np.float32)
    usual = SCALE.usual(user, grade, 4)
    assert usual == pytest.approx([(9 + 3 * SHRINK) / (2 + SHRINK), 3, (1 + 3 * SHRINK) / (1 + SHRINK), 3])
    assert SCALE.liking(user, grade, 4)[[0, 3]] == pytest.approx([5 - usual[0], 1 - usual[2]])
    assert np.isnan(SCALE.liking(user, grade, 4)[2])
    assert UNKNOWN_SCALE.usual(user, grade, 3)[[0, 2]] == pytest.approx([4.5, 1])  # no log: the user's own alone


def test_zero_is_a_grade(world: World) -> None:
    users = rated(world, {0: 0.0, 2: 5.0})
    assert sorted(users.taste.tolist()) == [-AGAINST, 1.0]


@pytest.mark.parametrize("kind", PROFILED, ids=lambda kind: kind.name)
def test_what_was_graded_below_the_usual_does_not_push_up_what_is_like_it(
    world: World, kind: type[CandidateGenerator]
) -> None:
    model = kind.fit(world.history, world.context)
    model.graded = True
    liked = dict.fromkeys(LIKED, 5.0)
    other = [item for item in range(N_ITEMS) if item % 2 == BAD % 2 and item not in (BAD, *LIKED)]

    def scores(grades: dict[int, float]) -> np.ndarray:
        found = model.score(rated(world, grades), world.items)[0]
        found = np.where(np.isfinite(found), found, 0.0)
        return np.asarray(found[other] - found.mean())  # of the other salty items

    without, with_bad = scores(liked), scores(liked | {BAD: 1.0})
    if kind.name != "content":  # its parts are standardised: how far they lean is lost
        assert with_bad.mean() <= without.mean() + 1e-4
    model.graded = False
    assert scores(liked | {BAD: 1.0}).mean() > with_bad.mean()


def test_no_reason_names_what_was_graded_below_the_usual(world: World) -> None:
    together = Together.of(world.history)
    users = rated(world, dict.fromkeys(LIKED, 5.0) | {BAD: 1.0})
    entry, _ = together.own(users, np.zeros(N_ITEMS, int), np.arange(N_ITEMS), world.catalogue)
    named = set(users.repeats.item[entry[entry >= 0]].tolist())
    assert named <= set(LIKED)
    assert named


def test_that_an_item_was_taken_is_no_reason_where_it_was_graded_below_the_usual(world: World) -> None:
    users = rated(world, {0: 5.0, BAD: 1.0})
    generators = {"item_to_item": KINDS["item_to_item"].fit(world.history, world.context)}
    found = propose(Scored.by([*generators.values()], users, world.items), users, world.catalogue, world.items)
    found.columns["interest_rank"] = found.columns["popularity_rank"] = np.full(len(found), 999, np.float32)
    weights = {kind: np.ones(len(found)) for kind in EVIDENCE_KINDS}
    parts = found, np.arange(len(found)), world.catalogue, world.items, generators, weights, Wording.of(["rating"])
    facts = dict(zip(found.item.tolist(), gather_evidence(users, *parts), strict=True))
    kinds = {item: [fact["kind"] for fact in each] for item, each in facts.items()}
    assert "chosen_before" in kinds[0]
    assert "chosen_before" not in kinds[BAD]


def test_people_alike_agree_on_liking(world: World) -> None:
    events = [(f"u{n:02d}", f"i{item:03d}", f"b{n}-{item}", NOW.replace(month=2)) for n in range(8) for item in (0, 1)]
    table = interactions(events)
    grades = pa.array([5.0 if item == "i000" else 1.0 for item in table["item_id"].to_pylist()])
    table = table.set_column(2, "event_type", pa.array(["rating"] * len(events))).set_column(3, "value", grades)
    log = History.of(table, world.catalogue, NOW)
    words = pa.table({"user_id": log.user_ids, "region": ["north"] * log.n_users})
    model = PeopleAlike.fit(log, replace(world.context, users=lambda moment: words))
    (scores,) = model.score(Users.of([{"user_id": "x", "region": "north"}], world.catalogue, 0.0), world.items)
    assert scores[0] == 1
    assert scores[1] == -np.inf


def test_the_interest_encoder_is_told_and_learns_from_the_same(world: World) -> None:
    users = rated(world, {0: 5.0, 2: 5.0, 1: 1.0})
    assert users.sequence_types.tolist() == [DISLIKED if item == 1 else RATING for item in users.sequence.item]
    model = KINDS["interest"].fit(world.history, world.context)
    before = model.score(users, world.items)
    model._scorer.disliked.data[0] += 5.0
    assert not np.allclose(before, model.score(users, world.items))
    bought = world.users
    assert (bought.sequence_types == bought.sequence.type).all()

    table = interactions(world.events)
    table = table.set_column(2, "event_type", pa.array(["rating"] * len(table)))
    grades = pa.array([1.0 if item == "i001" else 4.0 for item in table["item_id"].to_pylist()])
    log = History.of(table.set_column(3, "value", grades), world.catalogue, NOW)
    learned = []

    def listen(history: History, *rest: Any) -> InterestEncoder:
        learned.append(history)
        return world.context.fit_encoder(history, *rest)

    KINDS["interest"].fit(log, replace(world.context, fit_encoder=listen))
    assert (learned[0].type == np.where(log.item == 1, DISLIKED, RATING)).all()
    read = read_users(log, np.unique(log.user), np.full(log.n_users, NOW.timestamp()), world.catalogue)
    assert (read.sequence_types == log.types).all()
    assert (np.nan_to_num(read.repeats.grade) == np.where(read.repeats.item == 1, 1, 4)).all()
