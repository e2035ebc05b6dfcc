"""Onboarding from the command line: a dry run, a failed attempt, and a shop whose export needs decisions."""

import json
from pathlib import Path

import duckdb
import pytest

from tests.data.workplaces import Workplace

EVENTS = """
    select 100 + i % 40 as cust_no, i * 31 % 60 as sku, timestamp '2024-03-01 08:00' + interval (i * 14) minute as ts,
        1 + i % 3 as qty, replace(printf('%.2f', 2.5 + i % 7), '.', ',') as "Preis"
    from range(2000) as numbers (i)
"""
LATER = "timestamp '2024-03-02 08:00' + interval (i) minute"
TWICE = "timestamp '2024-03-05 08:00:30'"
ITEMS = """
    select i as sku, 'Lampe Nr ' || i as name, ['Lampen', 'Restposten'][1 + (i >= 58)::int] as category
    from range(60) as numbers (i)
    union all select 60, 'Versandkosten', 'Lampen'
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """An export with decimal commas, a till's customer number, postage, and two lines that only numbers tell apart."""
    folder = tmp_path_factory.mktemp("files")
    events = f"""{EVENTS}
        union all select 999, i % 58, {LATER}, 1, '3,50' from range(400) as numbers (i)
        union all select 100 + i, 60, {LATER}, 1, '4,95' from range(30) as numbers (i)
        union all select 101, 33, {TWICE}, 2, '1.250,00'
        union all select 101, 33, {TWICE}, 5, '1.250,00'
    """
    duckdb.execute(f"copy ({events}) to '{folder}/events.csv' (header, delimiter ';')")
    duckdb.execute(f"copy ({ITEMS}) to '{folder}/items.csv' (header)")
    return "--events", f"{folder}/events.csv", "--items", f"{folder}/items.csv"


ANSWERS = ("--map", "events.unit_price=Preis", "--exclude", "suggested", "--exclude", "items.category=Restposten")


def written(workplace: Workplace, name: str) -> list[Path]:
    """What there is of a dataset."""
    places = (workplace.project / "dbt_project/datasets" / name, workplace.home / name)
    return [place for place in places if place.exists()]


def test_a_dry_run_looks_and_asks_and_writes_nothing(workplace: Workplace, places: tuple[str, ...]) -> None:
    before = sorted(workplace.project.rglob("*.sql"))
    asked = workplace.zhiyin("onboard", "laden", *places, "--dry-run")
    assert asked.returncode == 2
    assert "2 questions are open, and nothing was written" in asked.stderr
    assert "- events.amount: Preis may hold what was paid" in asked.stderr
    assert "- exclusions are proposed (2)" in asked.stderr
    answered = workplace.zhiyin("onboard", "laden", *places, *ANSWERS, "--dry-run")
    assert answered.returncode == 0, answered.stderr
    assert "nothing was written" in answered.stdout
    assert sorted(workplace.project.rglob("*.sql")) == before
    assert written(workplace, "laden") == []


def test_a_failed_attempt_leaves_nothing_unless_it_is_to_be_mended(
    workplace: Workplace, places: tuple[str, ...]
) -> None:
    command = ("onboard", "frueh", *places, *ANSWERS, "--as-of", "1990-01-01")
    failed = workplace.zhiyin(*command)
    assert failed.returncode == 1
    assert "no row of events lies before 1990-01-01" in failed.stderr
    assert "Nothing of this attempt was kept. With --keep" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert written(workplace, "frueh") == []
    kept = workplace.zhiyin(*command, "--keep")
    assert kept.returncode == 1
    assert "zhiyin step build --dataset frueh" in kept.stderr
    assert len(written(workplace, "frueh")) == 2


@pytest.fixture(scope="module")
def laden(workplace: Workplace, places: tuple[str, ...]) -> Workplace:
    done = workplace.zhiyin("onboard", "laden", *places, *ANSWERS)
    assert done.returncode == 0, done.stdout + done.stderr
    return workplace


def test_what_is_excluded_is_set_aside_with_its_reason_and_never_listed(laden: Workplace) -> None:
    reasons = "select rejected_because, count(*) from quarantined_events group by all order by 2 desc"
    aside = dict(laden.warehouse("laden", reasons))
    remnants = sum(i * 31 % 60 >= 58 for i in range(2000))
    assert aside == {
        "excluded: nobody's id": 400,
        "excluded: category is Restposten": remnants,
        "excluded: service line": 30,
    }
    assert laden.warehouse("laden", "select count(*) from interactions") == [(2000 - remnants + 2,)]
    listed = "select count(*), count(*) filter (where available) from items"
    assert laden.warehouse("laden", listed) == [(61, 58)]


def test_decimal_commas_are_amounts_and_lines_that_differ_in_numbers_both_count(laden: Workplace) -> None:
    twice = f"select value, amount from interactions where occurred_at = {TWICE} order by value"
    assert laden.warehouse("laden", twice) == [(2, 2500), (5, 6250)]
    paid = sum((1 + i % 3) * (2.5 + i % 7) for i in range(2000) if i * 31 % 60 < 58) + 8750
    assert laden.warehouse("laden", "select sum(amount)::double from interactions") == [(paid,)]


def test_an_exclusion_that_is_taken_back_brings_the_events_back(laden: Workplace) -> None:
    definition = laden.project / "dbt_project/datasets/laden/_sources.yml"
    text = definition.read_text()
    assert "      exclude:\n" in text
    start, end = text.index("        items:\n"), text.index("  tables:\n")
    definition.write_text(text[:start] + text[end:])
    built = laden.zhiyin("step", "build", "--dataset", "laden", "--as-of", "2024-03-22")
    assert built.returncode == 0, built.stderr
    reasons = "select rejected_because, count(*) from quarantined_events group by all"
    assert laden.warehouse("laden", reasons) == [("excluded: nobody's id", 400)]


SONGS = """
    select 'u' || u as user, (u % 4 * 10 + (u + p * (1 + u % 3)) % 10) as item, p as position
    from range(60) as users (u), range(1, 9) as positions (p)
    union all select 'u0', 40 + p % 5, p from range(9, 40) as positions (p)
"""
SMALL = """
least = 0
windows = 1

[generators.item_to_item]
[generators.popularity]
[generators.personal_frequency]
[ranker]
trees = 5
min_data_in_leaf = 5
"""


def test_data_that_knows_an_order_only_is_trained_and_gated_by_the_last_event_of_every_user(
    workplace: Workplace, tmp_path: Path
) -> None:
    """By days, one user would be judged: the one whose history is longest."""
    duckdb.execute(f"copy ({SONGS}) to '{tmp_path}/events.csv' (header)")
    songs = "select i as item, 'Song ' || i as title from range(45) as numbers (i)"
    duckdb.execute(f"copy ({songs}) to '{tmp_path}/items.csv' (header)")
    done = workplace.zhiyin(
        *("onboard", "melodies", "--events", f"{tmp_path}/events.csv", "--items", f"{tmp_path}/items.csv"),
        *("--map", "events.event_type=click"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "judged by the last event of every user (leave_one_out), not by days" in " ".join(done.stdout.split())
    assert "in the last 14 'days' 1 of 60 users have an event" in " ".join(done.stdout.split())

    recipe = workplace.project / "dbt_project/datasets/melodies/recipe.toml"
    recipe.write_text(recipe.read_text() + SMALL)
    for step in ("publish", "features", "encode", "train", "evaluate", "gate"):
        ran = workplace.zhiyin("step", step, "--dataset", "melodies", "--as-of", "2000-02-10")
        assert ran.returncode == 0, ran.stderr
    (leaderboard,) = (workplace.home / "melodies/reports/2000-02-10").glob("leaderboard-*.json")
    evaluation = json.loads(leaderboard.read_text())
    assert evaluation["protocol"] == "leave_one_out"
    assert evaluation["users"] >= 50
    assert "beats popularity" in ran.stderr or "does not beat popularity" in ran.stderr
