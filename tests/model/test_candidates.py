"""The contract that every candidate generator keeps."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.model.checkerboard import DAY, N_ITEMS, NOW, World, interactions, item_rows, left_out, text, user_rows
from zhiyin.recommender.candidates import KINDS, CandidateGenerator, Context, PeopleAlike
from zhiyin.recommender.recipe import DEFAULT
from zhiyin.recommender.state.catalogue import ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

GENERATORS = [KINDS[name] for name in DEFAULT]
PERSONAL = [kind for kind in GENERATORS if kind.name != "popularity" and not kind.of_sessions]


@pytest.fixture(scope="module")
def fitted(world: World) -> dict[str, CandidateGenerator]:
    return {kind.name: kind.fit(world.history, world.context) for kind in GENERATORS}


def of(kind: type[CandidateGenerator]) -> str:
    return kind.name


@pytest.mark.parametrize("kind", GENERATORS, ids=of)
def test_scores_have_one_row_per_user_and_one_column_per_item(world, fitted, kind):
    scores = fitted[kind.name].score(world.users, world.items)
    assert scores.shape == (len(world.users), N_ITEMS)
    assert scores.dtype == np.float32
    assert not np.isnan(scores).any()


@pytest.mark.parametrize("kind", PERSONAL, ids=of)
def test_checkerboard_puts_a_users_own_colour_first(world, fitted, kind):
    scores = fitted[kind.name].score(world.users, world.items)
    for user in range(len(world.users)):
        own = np.arange(N_ITEMS) % 2 == user % 2
        own_scores = scores[user, own & (np.arange(N_ITEMS) != left_out(user))]
        assert own_scores.min() > scores[user, ~own].max()


@pytest.mark.parametrize("kind", [kind for kind in PERSONAL if kind.name != "personal_frequency"], ids=of)
def test_checkerboard_finds_the_own_item_that_was_never_bought(world, fitted, kind):
    scores = fitted[kind.name].score(world.users, world.items)
    for user in range(len(world.users)):
        other = np.arange(N_ITEMS) % 2 != user % 2
        assert scores[user, left_out(user)] > scores[user, other].max()


@pytest.mark.parametrize("kind", GENERATORS, ids=of)
def test_a_batch_of_one_scores_as_a_batch_of_many(world, fitted, kind):
    many = fitted[kind.name].score(world.users, world.items)
    for row in (0, 7, len(world.users) - 1):
        one = Users.of(world.user_rows[row : row + 1], world.catalogue, NOW.timestamp())
        np.testing.assert_array_equal(fitted[kind.name].score(one, world.items)[0], many[row])


@pytest.mark.parametrize("kind", GENERATORS, ids=of)
def test_someone_without_a_history_is_no_error(world, fitted, kind):
    nobody = Users.of([{"user_id": "nobody"}], world.catalogue, NOW.timestamp())
    scores = fitted[kind.name].score(nobody, world.items)
    if kind.name == "popularity":
        assert np.isfinite(scores).all()
    else:
        assert (scores == -np.inf).all()


def test_someone_new_is_proposed_what_people_alike_take(world, fitted):
    new = [{"user_id": "new", "feature_at": NOW, "diet": diet} for diet in ("salty", "sour", None)]
    salty, sour, silent = fitted["people_alike"].score(Users.of(new, world.catalogue, NOW.timestamp()), world.items)
    odd = np.arange(N_ITEMS) % 2 == 1
    assert salty[odd].min() > salty[~odd].max()
    assert (sour == -np.inf).all()
    assert (silent == -np.inf).all()


def test_what_is_known_of_people_is_asked_for_as_of_the_end_of_the_log(world):
    moments = []

    def users(moment):
        moments.append(moment)
        return world.context.users(moment)

    cut = NOW - timedelta(days=9)
    PeopleAlike.fit(world.history.before(cut), replace(world.context, users=users))
    assert moments == [cut.timestamp()]


def test_a_small_group_leans_on_everybody(world):
    rows = [
        *((f"u{n:02d}", "i000", f"b{n}", NOW - timedelta(days=1)) for n in range(9)),
        ("u09", "i001", "b9", NOW - timedelta(days=1)),
    ]
    words = pa.table({"user_id": [f"u{n:02d}" for n in range(10)], "region": ["north"] * 8 + ["south"] * 2})
    context = replace(world.context, users=lambda moment: words)
    model = PeopleAlike.fit(History.of(interactions(rows), world.catalogue, NOW), context, shrink=10.0)
    users = Users.of([{"user_id": "x", "region": "south"}], world.catalogue, NOW.timestamp())
    shares = model.score(users, world.items)[0]
    np.testing.assert_allclose(shares[:2], [(1 + 10 * 0.9) / 12, (1 + 10 * 0.1) / 12], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS.values(), ids=of)
def test_a_loaded_generator_scores_as_the_fitted_one(world, fitted, kind, tmp_path):
    model = fitted.get(kind.name) or kind.fit(world.history, world.context)
    model.save(tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".json", ".safetensors"}
    loaded = kind.load(tmp_path, world.context)
    np.testing.assert_array_equal(loaded.score(world.users, world.items), model.score(world.users, world.items))


@pytest.mark.parametrize("kind", KINDS.values(), ids=of)
def test_scores_are_those_of_the_eligible_items_alone(world, fitted, kind):
    model = fitted.get(kind.name) or kind.fit(world.history, world.context)
    if kind.name == "content":
        return  # its scores are standardised over what there is to choose from
    some = np.arange(N_ITEMS) % 3 > 0
    fewer = model.score(world.users, world.items.only(some))
    np.testing.assert_array_equal(fewer, model.score(world.users, world.items)[:, some])


@pytest.mark.parametrize("kind", GENERATORS, ids=of)
def test_a_second_fit_gives_the_same_files_and_a_new_log_forgets_the_old(world, fitted, kind, tmp_path):
    for name, model in (("first", fitted[kind.name]), ("again", kind.fit(world.history, world.context))):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("kind", [kind for kind in GENERATORS if kind.name in ("interest", "text_neighbours")], ids=of)
def test_an_item_that_nobody_bought_is_scored_from_its_text(world, kind):
    # The last item is taken out of the log: its text alone says that it is salty.
    rows = [row for row in world.events if row[1] != f"i{N_ITEMS - 1:03d}"]
    history = History.of(interactions(rows), world.catalogue, NOW)
    model = kind.fit(history, Context(world.catalogue, text(), 1, 1, fit_encoder=world.context.fit_encoder))
    users = Users.of(user_rows(rows), world.catalogue, NOW.timestamp())
    scores = model.score(users, ItemState.of(item_rows(rows), world.catalogue, NOW))
    assert np.isfinite(scores[:, -1]).all()
    assert scores[1::2, -1].mean() > scores[0::2, -1].mean()


def test_history_ends_strictly_before_its_cut(world):
    cut = NOW - timedelta(days=9)
    moment = cut.timestamp()
    on_the_cut = [("u00", "i000", "late", cut)]
    history = History.of(interactions(world.events + on_the_cut), world.catalogue, cut)
    assert history.at.max() < moment
    assert len(world.history.before(cut)) == len(history)
    assert len(history) == sum(row[3] < cut for row in world.events)
    with pytest.raises(ValueError, match="ends at"):
        history.before(cut + timedelta(seconds=DAY))
