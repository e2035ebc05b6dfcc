"""A person asks to be forgotten, on a home that the whole platform has filled."""

import io
import re
import shutil
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from cli.ask import recommend_for
from cli.forget import forget_user
from feature_repo import OnlineStates, apply
from tests.conftest import AS_OF, HOUSEHOLDS, Slice
from zhiyin.clock import Clock
from zhiyin.contract import INTERACTIONS, MARTS, USER_ACTIVITY, USER_SEQUENCES
from zhiyin.erasure.forgotten import Person
from zhiyin.erasure.search import search
from zhiyin.landing import land
from zhiyin.settings import Settings
from zhiyin.store import verify_manifest
from zhiyin.warehouse import build, current, publish

CLOCK = Clock.parse(AS_OF)


@pytest.fixture
def home(slice_home: Slice, tmp_path: Path) -> Slice:
    """A copy of the finished home."""
    shutil.copytree(slice_home.settings.home, tmp_path / "home")
    settings = Settings(home=tmp_path / "home", user_sample=HOUSEHOLDS)  # type: ignore[call-arg]
    return Slice(settings, slice_home.environment | {"ZHIYIN_HOME": str(settings.home)}, "")


def somebody(settings: Settings) -> Person:
    """A household that the ranking report shows, so that its pseudonym stands in HTML and in Evidently's workspace."""
    lake = f"{settings.lake}/transactions/*/part-0.parquet"
    households = duckdb.execute(f"select distinct household_id::varchar from '{lake}' order by 1").fetchall()
    report = (settings.reports / AS_OF / "lists_ranking.html").read_text()
    shown = set(re.findall("[0-9a-f]{32}", report))
    people = (Person.of(settings, household) for (household,) in households)
    return next(person for person in people if person.pseudonym in shown)


def talk_about(settings: Settings, person: Person) -> tuple[Path, Path]:
    """Name the person where servers write: a log, and the durable log of impressions beside somebody else's line."""
    log = settings.run / "service.log"
    log.write_text(f"recommend: the state of {person.pseudonym} cannot be ranked\nanother line\n")
    impressions = settings.feedback / "impressions" / "day=2017-12-01" / "120000-test.jsonl"
    impressions.parent.mkdir(parents=True, exist_ok=True)
    impressions.write_text(f'{{"user_id":"{person.pseudonym}","k":10}}\n{{"user_id":"somebody else","k":5}}\n')
    return log, impressions


def places(settings: Settings, person: Person) -> set[str]:
    return {
        path.relative_to(settings.data).parts[0] for path in search(settings, person) if settings.data in path.parents
    }


def rows(folder: Path, mart: str, but: Person | None = None) -> str:
    others = f" where user_id != '{but.pseudonym}'" if but else ""
    return f"(select * from '{folder / mart}.parquet'{others})"


def test_a_forgotten_person_is_nowhere_and_does_not_come_back(home: Slice, tmp_path: Path) -> None:
    settings = home.settings
    person = somebody(settings)
    log, impressions = talk_about(settings, person)
    before = tmp_path / "before"
    shutil.copytree(current(settings).folder, before)
    assert {"lake", "marts", "states", "features", "feedback", "reports", "warehouse.duckdb"} <= places(
        settings, person
    )
    assert OnlineStates(settings).user(person.pseudonym) is not None

    said = io.StringIO()
    forget_user(settings, person.user_id, True, Console(file=said, width=200))
    assert "evidently" in said.getvalue()
    assert not settings.forgotten.exists()

    done = home.zhiyin("forget", person.user_id, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert search(settings, person) == {}
    assert person.user_id not in settings.forgotten.read_text()

    # Nobody else lost anything, and every artefact is whole.
    marts = current(settings)
    verify_manifest(marts.folder)
    verify_manifest(settings.states / AS_OF)
    for mart in (INTERACTIONS, USER_ACTIVITY, USER_SEQUENCES):
        old, new = rows(before, mart, person), rows(marts.folder, mart)
        assert duckdb.execute(f"select count(*) from ({old} except all {new})").fetchall() == [(0,)]
        assert duckdb.execute(f"select count(*) from ({old})").fetchall() == [(marts.manifest["rows"][mart],)]
    assert duckdb.execute(f"select user_id, k from read_json('{impressions}')").fetchall() == [("somebody else", 5)]
    assert log.read_text().splitlines()[1] == "another line"

    # The service answers as to a stranger, and says so.
    assert OnlineStates(settings).user(person.pseudonym) is None
    slate = recommend_for(settings, person.user_id, 5)
    assert len(slate.items) == 5
    assert slate.missing == ["unknown_user"]

    # The source still delivers the person: the next run leaves them out, and builds all else as it was.
    shutil.rmtree(settings.lake / "demographics")
    shutil.rmtree(settings.lake / "transactions")
    land(settings, CLOCK)
    build(settings, CLOCK)
    published = publish(settings, CLOCK)
    assert set(MARTS) == {path.stem for path in published.glob("*.parquet")}
    old, new = rows(marts.folder, INTERACTIONS), rows(published, INTERACTIONS)
    assert duckdb.execute(f"select count(*) from ({old} except all {new})").fetchall() == [(0,)]
    assert search(settings, person) == {}
    assert apply(settings)

    said = io.StringIO()
    forget_user(settings, person.user_id, False, Console(file=said, width=200))
    assert "already forgotten" in said.getvalue()
