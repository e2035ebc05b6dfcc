"""A new key renames everybody, loses nothing, and leaves no old pseudonym; half a rotation is completed."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest

import pipeline.key_rotation
from pipeline.erasure import erasure_of
from pipeline.key_rotation import rotate
from tests.data.homes import WITHOUT_TESTS
from zhiyin.clock import Clock
from zhiyin.erasure.person import Person
from zhiyin.landing import land
from zhiyin.landing.forgotten import forgotten
from zhiyin.landing.source import Files
from zhiyin.pseudonym import load_key, next_key
from zhiyin.settings import Settings
from zhiyin.warehouse import build, current, publish

AS_OF = Clock.parse("2017-02-06")
STRANGER = "e" * 32  # known to the service alone


def post(settings: Settings, *users: str) -> None:
    folder = settings.feedback / "events" / "day=2017-02-05"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            **{
                "event_id": f"posted {n}",
                "user_id": user,
                "item_id": "1082185",
                "event_type": "purchase",
                "value": 1.0,
            },
            **{"occurred_at": "2017-02-05T12:00:00+00:00", "ingested_at": "2017-02-05T12:00:01+00:00"},
            "source": "service",
        }
        for n, user in enumerate(users)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Published marts of 30 households, one of them erased, with what two posted, one of them a stranger."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), user_sample=30, memory_limit="2GB")  # type: ignore[call-arg]
    land(settings, AS_OF)
    first, second = households(settings)[:2]
    erasure = erasure_of(settings, second)
    erasure.erase(erasure.find())
    post(settings, Person.of(settings, first).pseudonym, STRANGER)
    land(settings, AS_OF)
    build(settings, AS_OF, *WITHOUT_TESTS)
    publish(settings, AS_OF)
    return settings


@pytest.fixture
def settings(built: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of it; the steps that follow are the warehouse's, without the feature store."""
    monkeypatch.setattr(pipeline.key_rotation, "ANEW", ("build", "publish"))
    shutil.copytree(built.home, tmp_path / "home")
    return Settings(**(built.model_dump() | {"home": tmp_path / "home"}))


def households(settings: Settings) -> list[str]:
    files = f"{settings.lake}/transactions/*/part-0.parquet"
    rows = duckdb.execute(
        f"select household_id::varchar from '{files}' group by 1 order by count(*) desc, 1"
    ).fetchall()
    return [user for (user,) in rows]


def counts(settings: Settings) -> dict[str, int]:
    marts = current(settings)
    return dict(duckdb.execute(f"select user_id, count(*) from '{marts.path('interactions')}' group by 1").fetchall())


def files_with(home: Path, words: set[str]) -> list[Path]:
    return [path for path in home.rglob("*.jsonl") if any(word in path.read_text() for word in words)]


def test_everybody_has_a_new_name_and_the_same_history(settings: Settings) -> None:
    users = households(settings)
    old_key = load_key(settings)
    old = {user: Person.of(settings, user).pseudonym for user in users}
    before, erased = counts(settings), forgotten(settings)
    rotate(settings, drop_unnamed=True, say=print)
    new = {user: Person.of(settings, user).pseudonym for user in users}
    assert load_key(settings) != old_key
    assert set(new.values()).isdisjoint(old.values())
    assert counts(settings) == {new[user]: before[old[user]] for user in users if old[user] in before}
    assert files_with(settings.home, {*old.values(), STRANGER}) == []
    assert files_with(settings.home, {new[users[0]]}) != []  # what that user posted

    # Who was erased does not return.
    assert len(forgotten(settings)) == len(erased) == 1
    assert forgotten(settings) != erased
    shutil.rmtree(settings.lake / "transactions")
    land(settings, AS_OF)
    assert households(settings) == users


def test_users_whom_only_the_service_knows_are_not_dropped_unasked(settings: Settings) -> None:
    before = counts(settings)
    with pytest.raises(
        ValueError, match=r"1 users are known from posted events .* nothing was changed.*--drop-unnamed"
    ):
        rotate(settings, drop_unnamed=False, say=print)
    assert counts(settings) == before
    load_key(settings)


def test_a_source_that_is_missing_stops_a_rotation_before_it_begins(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Files, "fingerprint", _missing)
    with pytest.raises(FileNotFoundError, match="not found"):
        rotate(settings, drop_unnamed=True, say=print)
    load_key(settings)  # other work goes on


def _missing(source: Files) -> None:
    raise FileNotFoundError(f"{source}: not found")


def test_a_rotation_that_broke_off_stops_other_work_and_is_completed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {user: Person.of(settings, user).pseudonym for user in households(settings)}
    before = counts(settings)

    def die(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.key_rotation, "write_check", die)  # when all is renamed, but for the key
        with pytest.raises(OSError, match="disk full"):
            rotate(settings, drop_unnamed=True, say=print)
    with pytest.raises(ValueError, match=r"complete it by `zhiyin key rotate`"):
        land(settings, AS_OF)
    promised = next_key(settings).read_text()
    rotate(settings, drop_unnamed=False, say=print)  # what may be lost was agreed to before
    assert settings.pseudonym_key.read_text() == promised
    assert sorted(counts(settings).values()) == sorted(before[name] for name in old.values() if name in before)
