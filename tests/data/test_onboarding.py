"""A company's files become a dataset by one command, which asks where it is not clear what is what."""

import re
import subprocess
from pathlib import Path

import duckdb
import pytest
import yaml

from tests.data.workplaces import Workplace
from zhiyin.landing.source import Files
from zhiyin.onboarding.mapping import UnclearError, propose
from zhiyin.onboarding.moments import SourceClock, moment
from zhiyin.onboarding.profile import profile


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's exports: 3,000 events of four kinds by 40 customers in 30 days, 60 products, 40 customers.

    1 % of the events are of products that the catalogue does not know, 20 rows are delivered twice, names have blanks
    too many, and a customer is in the export twice.
    """
    folder = tmp_path_factory.mktemp("files")
    duckdb.execute(f"""
        create or replace temp table events as
        select
            i % 40 + 100 as cust_no,
            if(i % 100 = 7, 999, i * 31 % 60) as sku,
            ['view', 'add_to_cart', 'buy', 'view', 'search'][1 + i % 5] as action,
            strftime(timestamp '2024-03-01 08:00' + interval (i * 14) minute, '%Y-%m-%dT%H:%M:%S+02:00') as ts,
            if(i % 5 = 2, 1 + i % 3, null) as qty,
            if(i % 5 = 2, 2.50 * (1 + i % 3), null) as paid
        from range(3000) as numbers (i);
        copy (from events union all from (from events limit 20)) to '{folder}/events.csv' (header, delimiter ';');
        copy (
            select
                i as sku, '  Lamp   No. ' || i || ' ' as product_name, ['Home', 'Garden'][1 + i % 2] as dept,
                ['Lamps', 'Pots'][1 + i // 2 % 2] as category, 2.5 as price,
                ['small|red', 'red|round | small', 'round'][1 + i % 3] as tags
            from range(60) as numbers (i)
        ) to '{folder}/items.jsonl' (format json);
        copy (
            select i + 100 as cust_no, 18 + i as age, 'f' as sex from range(40) as numbers (i)
            union all select 100, 18, 'f'
        ) to '{folder}/users.parquet' (format parquet);
        copy (
            select i % 40 as user, i * 31 % 60 as item, i // 40 + 1 as position from range(2000) as numbers (i)
        ) to '{folder}/ordered.csv' (header);
    """)
    return folder


@pytest.fixture(scope="module")
def shop(workplace: Workplace, files: Path) -> subprocess.CompletedProcess[str]:
    """The shop onboarded: its events CSV, its items JSON lines, its users Parquet."""
    return workplace.zhiyin(
        *("onboard", "shop", "--events", f"{files}/events.csv", "--items", f"{files}/items.jsonl"),
        *("--users", f"{files}/users.parquet", "--option", "events.delim=;"),
    )


def test_files_of_three_kinds_become_marts_and_the_summary_accounts_for_every_row(
    workplace: Workplace, shop: subprocess.CompletedProcess[str]
) -> None:
    assert shop.returncode == 0, shop.stdout + shop.stderr
    assert "full refresh" in shop.stderr
    assert "\x1b" not in shop.stderr
    assert (workplace.home / "run/dbt/dbt.log").is_file()
    assert not (workplace.project / "dbt_project/logs").exists()
    said = {
        cells[0].strip(): cells[1].strip()
        for line in shop.stdout.splitlines()
        if line.startswith("│") and len(cells := line.strip("│").split("│")) == 2
    }
    assert said["events landed"] == "3,020"
    assert said["duplicates"] == "20"
    assert said["set aside: item unknown"] == "30"
    assert said["kept"] == "2,970"
    assert said["items with events, of the catalogue"] == "60 of 60"
    types = dict(workplace.warehouse("shop", "select event_type, count(*) from interactions group by all"))
    assert types == {"view": 1200, "cart": 600, "purchase": 570, "search": 600}


def test_what_arrives_is_cleaned(workplace: Workplace, shop: subprocess.CompletedProcess[str]) -> None:
    lamps = workplace.warehouse(
        "shop", "select title, category_path, labels, price from items where item_id in ('0', '1') order by item_id"
    )
    assert lamps == [
        ("Lamp No. 0", "Home > Lamps", ["red", "small"], 2.5),
        ("Lamp No. 1", "Garden > Lamps", ["red", "round", "small"], 2.5),
    ]
    (begin,) = workplace.warehouse("shop", "select min(occurred_at)::varchar from interactions")
    assert begin == ("2024-03-01 06:00:00",)  # UTC
    bands = workplace.warehouse("shop", "select age_band, count(*) from users group by all order by all")
    assert bands == [("18-24", 7), ("25-34", 10), ("35-44", 10), ("45-54", 10), ("55-64", 3)]


def test_no_raw_user_id_leaves_staging(workplace: Workplace, shop: subprocess.CompletedProcess[str]) -> None:
    pseudonym = "regexp_full_match(user_id, '[0-9a-f]{32}')"
    for table in ("interactions", "users", "quarantined_events"):
        assert workplace.warehouse("shop", f"select count(*) from {table} where not {pseudonym}") == [(0,)]


def test_what_was_written_is_for_the_engineer_to_edit(
    workplace: Workplace, files: Path, shop: subprocess.CompletedProcess[str]
) -> None:
    folder = workplace.project / "dbt_project/datasets/shop"
    (source,) = yaml.safe_load((folder / "_sources.yml").read_text())["sources"]
    assert {table["name"] for table in source["tables"]} == {"events", "items", "users"}
    before = {path.name: path.read_text() for path in folder.iterdir()}
    again = workplace.zhiyin("onboard", "shop", "--events", f"{files}/events.csv", "--items", f"{files}/items.jsonl")
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_rows_that_break_a_rule_stop_the_build_with_reason_and_rows_and_leave_the_published_marts(
    workplace: Workplace, files: Path, shop: subprocess.CompletedProcess[str]
) -> None:
    """10 % of the day's rows are of a product that the catalogue does not know."""
    published = workplace.zhiyin("step", "publish", "--dataset", "shop", "--as-of", "2024-03-31")
    assert published.returncode == 0, published.stderr
    marts = {path: path.read_bytes() for path in (workplace.home / "shop/marts").rglob("*") if path.is_file()}
    whole = (files / "events.csv").read_text()
    header, *lines = whole.splitlines()
    broken = [line.replace(";", ";unheard of ", 1) if i % 10 == 0 else line for i, line in enumerate(lines)]
    (files / "events.csv").write_text("\n".join([header, *broken]) + "\n")
    workplace.zhiyin("step", "land", "--dataset", "shop", "--as-of", "2024-03-31")
    failed = workplace.zhiyin("step", "build", "--dataset", "shop", "--as-of", "2024-03-31")
    (files / "events.csv").write_text(whole)
    assert failed.returncode == 1
    assert "quarantine_share" in failed.stderr
    assert '"rejected_because": "item unknown"' in failed.stderr
    assert "the published marts are as they were" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert {path: path.read_bytes() for path in (workplace.home / "shop/marts").rglob("*") if path.is_file()} == marts


def test_data_that_knows_an_order_only_gets_a_clock_of_its_own(workplace: Workplace, files: Path) -> None:
    arguments = ("--events", f"{files}/ordered.csv", "--items", f"{files}/items.jsonl")
    answer = workplace.zhiyin("onboard", "ordered", *arguments)
    assert answer.returncode == 2
    assert "--map" in answer.stderr
    assert "events.event_type" in answer.stderr
    assert not (workplace.project / "dbt_project/datasets/ordered").exists()

    done = workplace.zhiyin("onboard", "ordered", *arguments, "--map", "events.event_type=view", "--step", "12 hours")
    assert done.returncode == 0, done.stdout + done.stderr
    span = workplace.warehouse(
        "ordered", "select min(occurred_at)::varchar, max(occurred_at)::varchar from interactions"
    )
    assert span == [("2000-01-01 12:00:00", "2000-01-26 00:00:00")]  # positions 1 to 50
    assert workplace.warehouse("ordered", "select count(*), count(age_band) from users") == [(40, 0)]


# What is asked for


def write(path: Path, sql: str) -> Files:
    duckdb.execute(f"copy ({sql}) to '{path}' (header)")
    return Files(str(path))


ITEMS = "select i as sku, 'Lamp ' || i as title from range(20) as numbers (i)"


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (
            "select 1 as a, 2 as sku, timestamp '2024-01-01' as ts",
            r"events\.user_id: no column matches clearly.*a, sku, ts",
        ),
        (
            "select 1 as customer, 2 as visitor, 3 as sku, timestamp '2024-01-01' as ts",
            "user_id: several.*customer, visitor",
        ),
        ("select 1 as customer, 3 as sku, 4 as qty", r"events\.occurred_at: no column.*events\.position"),
        ("select 1 as customer, 3 as sku, timestamp '2024-01-01' as ts", r"events\.event_type: no column tells"),
        (
            "select 1 as customer, 3 as sku, timestamp '2024-01-01' as ts, 'gazed' as action",
            r"the value 'gazed' of action is no known type; say --map events\.event_type\.gazed=",
        ),
    ],
)
def test_what_is_missing_or_ambiguous_is_asked_for_by_name(tmp_path: Path, events: str, told: str) -> None:
    profiles = {
        "events": profile(write(tmp_path / "events.csv", events)),
        "items": profile(write(tmp_path / "items.csv", ITEMS)),
    }
    assert any(re.search(told, question) for question in propose(profiles, {}).questions)


def test_an_answer_settles_it_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    events = "select 1 as customer, 2 as visitor, 3 as sku, timestamp '2024-01-01' as ts, 5 as stars"
    profiles = {
        "events": profile(write(tmp_path / "events.csv", events)),
        "items": profile(write(tmp_path / "items.csv", ITEMS)),
    }
    proposal = propose(profiles, {"events.user_id": "visitor"})
    assert proposal.columns["events"]["user_id"].name == "visitor"
    assert proposal.event_type == "rating"
    (wrong,) = propose(profiles, {"events.user_id": "guest"}).questions
    assert "events has no column guest; it has customer, visitor" in wrong
    assert (
        "there is no events.user; there are events.user_id"
        in propose(profiles, {"events.user": "visitor"}).questions[0]
    )


def test_the_catalogue_tells_which_column_names_the_item(tmp_path: Path) -> None:
    events = (
        "select 100 + i as customer, i as what, 7 as qty, timestamp '2024-01-01' as ts from range(20) as numbers (i)"
    )
    profiles = {
        "events": profile(write(tmp_path / "events.csv", events)),
        "items": profile(write(tmp_path / "items.csv", ITEMS)),
    }
    proposal = propose(profiles, {})
    assert proposal.columns["events"]["item_id"].name == "what"
    assert proposal.reasons["events.item_id"] == "its values are ids of the catalogue"


def test_a_column_may_be_named_by_a_word_of_sql(tmp_path: Path) -> None:
    found = profile(write(tmp_path / "items.csv", "select 1 as sku, 'Lamp' as \"desc\", 'x' as \"when\""))
    assert [column.sql for column in found.columns] == ["sku", '"desc"', '"when"']
    assert [column.samples for column in found.columns] == [("1",), ("Lamp",), ("x",)]


@pytest.mark.parametrize(
    ("flag", "value"),
    [("time_zone", "Mars/Base"), ("step", "1 parsec"), ("epoch", "never")],
)
def test_a_clock_that_cannot_be_is_refused_with_the_flag(flag: str, value: str) -> None:
    with pytest.raises(UnclearError, match=f"--{flag.replace('_', '-')} '{value}' is not known; say "):
        SourceClock(**{flag: value})


def test_a_wrong_as_of_is_refused_before_anything_is_written(workplace: Workplace, files: Path) -> None:
    places = ("--events", f"{files}/ordered.csv", "--items", f"{files}/items.jsonl", "--map", "events.event_type=view")
    refused = workplace.zhiyin("onboard", "late", *places, "--as-of", "tomorrow")
    assert refused.returncode == 2
    assert "as_of must be a date" in refused.stderr
    assert not (workplace.project / "dbt_project/datasets/late").exists()


@pytest.mark.parametrize(
    ("written", "clock"),
    [
        ("2024-03-05 10:00:00", SourceClock()),
        ("2024-03-05T12:00:00+02:00", SourceClock()),
        ("2024-03-05T10:00:00Z", SourceClock()),
        ("2024-03-05 11:00:00", SourceClock(time_zone="Europe/Berlin")),
        ("05/03/2024 10:00", SourceClock(time_format="%d/%m/%Y %H:%M")),
        ("1709632800", SourceClock()),
        ("1709632800000", SourceClock()),
        ("1709632800000000", SourceClock()),
    ],
)
def test_moments_are_read_in_utc_however_they_are_written(tmp_path: Path, written: str, clock: SourceClock) -> None:
    source = write(tmp_path / "events.csv", f"select '{written}' as ts")
    (column,) = profile(source).columns
    expression = moment(source, column, clock, "occurred_at")
    read = duckdb.execute(f"select ({expression})::varchar from {source.relation()}").fetchall()
    assert read == [("2024-03-05 10:00:00",)]


def test_moments_that_cannot_be_read_are_asked_about(tmp_path: Path) -> None:
    source = write(tmp_path / "events.csv", "select 'fifth of March' as ts")
    (column,) = profile(source).columns
    with pytest.raises(
        UnclearError, match=r"1 of 1 values of ts are no moment, such as 'fifth of March'.*--time-format"
    ):
        moment(source, column, SourceClock(), "occurred_at")
