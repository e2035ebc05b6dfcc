"""Erasure of a user, on a home that the whole platform has filled."""

import io
import re
import shutil
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from cli.forget import forget_user
from cli.recommend import recommend_for
from feature_repo import OnlineStates
from tests.conftest import AS_OF, HOUSEHOLDS, Slice
from zhiyin.contract import INTERACTIONS, USER_ACTIVITY, USER_SEQUENCES
from zhiyin.erasure.person import Person
from zhiyin.settings import Settings
from zhiyin.store import verify_manifest
from zhiyin.warehouse import current


@pytest.fixture
def home(slice_home: Slice, tmp_path: Path) -> Settings:
    """A copy of the finished home."""
    shutil.copytree(slice_home.settings.home, tmp_path / "home", symlinks=True)
    return Settings(home=tmp_path / "home", user_sample=HOUSEHOLDS)  # type: ignore[call-arg]


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


def rows(folder: Path, mart: str, but: Person | None = None) -> str:
    others = f" where user_id != '{but.pseudonym}'" if but else ""
    return f"(select * from '{folder / mart}.parquet'{others})"


def test_a_forgotten_person_is_nowhere_and_nobody_else_lost_anything(home: Settings, tmp_path: Path) -> None:
    person = somebody(home)
    log, impressions = talk_about(home, person)
    before = tmp_path / "before"
    shutil.copytree(current(home).folder, before)
    assert OnlineStates(home).user(person.pseudonym) is not None

    said = io.StringIO()
    forget_user(home, person.user_id, False, Console(file=said, width=200))  # raises where anything is left
    found = dict(re.findall(r"^│ (?:complete_journey/)?([a-z.]+)\S* +│ ([\d,]+) +│ 0 ", said.getvalue(), re.MULTILINE))
    assert found.keys() == {
        "evidently", "features", "feedback", "lake", "marts", "reports", "run", "states", "warehouse.duckdb",
    }  # fmt: skip
    hidden = person.pseudonym.encode()
    assert not [path for path in home.home.rglob("*") if path.is_file() and hidden in path.read_bytes()]
    assert not home.encoders.exists()

    marts = current(home)
    verify_manifest(marts.folder)
    verify_manifest(home.states / AS_OF)
    for mart in (INTERACTIONS, USER_ACTIVITY, USER_SEQUENCES):
        old, new = rows(before, mart, person), rows(marts.folder, mart)
        assert duckdb.execute(f"select count(*) from ({old} except all {new})").fetchall() == [(0,)]
        assert duckdb.execute(f"select count(*) from ({old})").fetchall() == [(marts.manifest["rows"][mart],)]
    assert duckdb.execute(f"select user_id, k from read_json('{impressions}')").fetchall() == [("somebody else", 5)]
    assert log.read_text().splitlines()[1] == "another line"

    # The answer is that to a cold, and says so.
    slate = recommend_for(home, person.user_id, 5)
    assert len(slate.items) == 5
    assert slate.missing == ["unknown_user"]
