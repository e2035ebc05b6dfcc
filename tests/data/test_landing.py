"""The lake holds what the source delivered, by whole days, and landing again changes nothing."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from zhiyin.clock import Clock
from zhiyin.landing import datasets, land, raw_tables
from zhiyin.landing.lake import land_table
from zhiyin.landing.source import Files
from zhiyin.landing.table import RawTable
from zhiyin.settings import Settings

AS_OF = Clock.parse("2017-03-04")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")  # type: ignore[call-arg]


@pytest.fixture
def table(tmp_path: Path) -> RawTable:
    """Five days of receipts, in no order; the last two are the future of ``AS_OF``."""
    source = tmp_path / "receipts.parquet"
    write(source, "i % 7")
    return RawTable("receipts", Files(str(source)), day="bought_at")


def write(source: Path, value: str) -> None:
    duckdb.execute(
        f"copy (select i as id, {value} as quantity, timestamp '2017-03-01 12:00' + interval (i * 7919 % 5) day"
        f" as bought_at from range(1000) as ids(i)) to '{source}' (format parquet)"
    )


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_lake_holds_the_rows_of_the_source_before_as_of(settings: Settings, table: RawTable) -> None:
    landed = land_table(table, settings, AS_OF)
    lake = f"(select * exclude (day) from '{settings.lake}/receipts/*/part-0.parquet')"
    source = f"(select * from '{table.source}' where bought_at < '2017-03-04')"
    assert duckdb.execute(f"{lake} except all {source}").fetchall() == []
    assert duckdb.execute(f"{source} except all {lake}").fetchall() == []
    assert landed.rows == 600
    days = {path.name for path in (settings.lake / "receipts").iterdir() if path.is_dir()}
    assert days == {"day=2017-03-01", "day=2017-03-02", "day=2017-03-03"}


def test_landing_twice_changes_nothing(settings: Settings, table: RawTable) -> None:
    first = land_table(table, settings, AS_OF)
    before = contents(settings.lake)
    second = land_table(table, settings, AS_OF)
    assert contents(settings.lake) == before
    assert (first.written, first.unchanged) == (3, 0)
    assert (second.written, second.unchanged, second.rows) == (0, 3, first.rows)


def test_the_next_day_adds_its_own_file_only(settings: Settings, table: RawTable) -> None:
    land_table(table, settings, AS_OF)
    before = contents(settings.lake)
    landed = land_table(table, settings, Clock.parse("2017-03-05"))
    assert landed.written == 1
    added = contents(settings.lake).keys() - before.keys()
    assert added == {"receipts/day=2017-03-04/part-0.parquet"}
    assert land_table(table, settings, AS_OF).rows == 600  # the day that is there is the future of an earlier run


def test_a_source_that_changes_one_day_rewrites_that_day(settings: Settings, table: RawTable) -> None:
    land_table(table, settings, AS_OF)
    before = contents(settings.lake / "receipts")
    write(Path(table.source.location), "if(i = 0, 99, i % 7)")  # row 0 was bought on the first day
    assert land_table(table, settings, AS_OF).written == 1
    after = contents(settings.lake / "receipts")
    changed = {name for name in before if name.endswith(".parquet") and before[name] != after[name]}
    assert changed == {"day=2017-03-01/part-0.parquet"}


def test_a_damaged_day_is_written_again(settings: Settings, table: RawTable) -> None:
    land_table(table, settings, AS_OF)
    day = settings.lake / "receipts/day=2017-03-02/part-0.parquet"
    whole = day.read_bytes()
    day.write_bytes(whole[: len(whole) // 2])
    assert land_table(table, settings, AS_OF).written == 1
    assert day.read_bytes() == whole


def test_a_landing_that_breaks_off_leaves_whole_files_and_is_completed_by_the_next(
    settings: Settings, table: RawTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = 0

    def copy_and_die(source: Path, target: Path) -> None:
        nonlocal copied
        copied += 1
        if copied == 2:
            target.write_bytes(source.read_bytes()[:100])
            raise OSError("disk full")
        target.write_bytes(source.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copy_and_die)
        with pytest.raises(OSError, match="disk full"):
            land_table(table, settings, AS_OF)
    left = [path for path in settings.lake.rglob("*") if path.is_file()]
    assert [path.parent.name for path in left] == ["day=2017-03-01"]
    assert duckdb.execute(f"select count(*) from '{left[0]}'").fetchall() == [(200,)]

    assert land_table(table, settings, AS_OF).written == 2


def test_many_rows_without_a_day_are_refused_with_their_number(settings: Settings, table: RawTable) -> None:
    duckdb.execute(
        f"copy (select * replace (if(id < 60, null, bought_at) as bought_at) from '{table.source}')"
        f" to '{table.source}.new' (format parquet)"
    )
    Path(f"{table.source}.new").replace(str(table.source))
    with pytest.raises(ValueError, match=r"receipts\.parquet \(receipts\): 60 of 1000 rows have no day .* bought_at"):
        land_table(table, settings, AS_OF)


def test_a_missing_source_is_named(settings: Settings, table: RawTable) -> None:
    Path(table.source.location).unlink()
    with pytest.raises(FileNotFoundError, match=r"receipts\.parquet: not found"):
        land_table(table, settings, AS_OF)


def test_an_unknown_dataset_is_answered_with_the_known_ones(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"unknown dataset 'nothing'; known: .*complete_journey.*movielens_100k"):
        land(settings.model_copy(update={"dataset": "nothing"}), AS_OF)


def test_a_sample_takes_whole_households_and_another_sample_replaces_it(settings: Settings) -> None:
    def households(sample: int) -> set[int]:
        sampled = settings.model_copy(update={"user_sample": sample})
        transactions = raw_tables(sampled)[0]
        land_table(transactions, sampled, AS_OF)
        files = f"{settings.lake}/transactions/*/part-0.parquet"
        return {row[0] for row in duckdb.execute(f"select distinct household_id from '{files}'").fetchall()}

    twenty, ten = households(20), households(10)
    assert len(ten) <= 10 < len(twenty) <= 20
    assert ten < twenty


# What was posted to the service.


@pytest.fixture
def posted(settings: Settings) -> RawTable:
    return raw_tables(settings)[-1]


def post(settings: Settings, file: str, *events: tuple[str, str, str], torn: str = "") -> None:
    """Write a file of the service's log: (event_id, event_type, occurred_at)."""
    path = settings.feedback / "events" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"event_id": name, "user_id": "u", "event_type": kind, "occurred_at": at}) + "\n"
        for name, kind, at in events
    ]
    path.write_text("".join(lines) + torn)


def days(settings: Settings) -> dict[str, list[str]]:
    files = f"{settings.lake}/posted_events/*/part-0.parquet"
    rows = duckdb.execute(f"select day::varchar, list(event_id order by event_id) from '{files}' group by 1").fetchall()
    return dict(rows)


def test_what_was_posted_lands_on_the_day_on_which_it_happened(settings: Settings, posted: RawTable) -> None:
    post(
        settings,
        "day=2026-11-24/a.jsonl",
        ("late", "purchase", "2017-03-01T23:30:00-01:00"),
        ("seen", "view", "2017-03-01T12:00:00+00:00"),  # the dataset's own log has purchases alone
        ("next", "purchase", "2017-03-03T12:00:00+00:00"),
        ("future", "purchase", "2017-03-04T00:00:00+00:00"),
    )
    landed = land_table(posted, settings, AS_OF)
    assert (landed.rows, landed.files, landed.written) == (2, 2, 2)
    assert days(settings) == {"2017-03-02": ["late"], "2017-03-03": ["next"]}
    before = contents(settings.lake)
    land_table(posted, settings, AS_OF)
    assert contents(settings.lake) == before

    post(settings, "day=2026-11-25/b.jsonl", ("later", "purchase", "2017-03-02T08:00:00+00:00"))
    assert land_table(posted, settings, AS_OF).written == 1
    assert days(settings) == {"2017-03-02": ["late", "later"], "2017-03-03": ["next"]}


def test_a_line_that_a_crash_tore_and_one_that_was_blanked_cost_no_other(settings: Settings, posted: RawTable) -> None:
    post(settings, "day=2026-11-24/a.jsonl", ("whole", "purchase", "2017-03-01T12:00:00Z"), torn='{"event_id": "to')
    post(settings, "day=2026-11-24/b.jsonl", torn=" " * 40 + "\n")
    post(settings, "day=2026-11-24/c.jsonl", ("other", "purchase", "2017-03-01T12:00:00Z"))
    land_table(posted, settings, AS_OF)
    assert days(settings) == {"2017-03-01": ["other", "whole"]}


def test_where_nothing_was_posted_an_empty_table_lands(settings: Settings, posted: RawTable) -> None:
    assert land_table(posted, settings, AS_OF).rows == 0
    columns = duckdb.execute(f"describe from '{settings.lake}/posted_events/*/part-0.parquet'").fetchall()
    assert {name: kind.lower() for name, kind, *_ in columns if name != "day"} == posted.columns
    before = contents(settings.lake)
    land_table(posted, settings, AS_OF)
    assert contents(settings.lake) == before


@pytest.mark.parametrize(("types", "lands"), [(None, ["bought", "seen"]), ([], []), (["view"], ["seen"])])
def test_the_dataset_says_which_types_it_learns_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: list[str] | None, lands: list[str]
) -> None:
    land = {"location": "a.csv", "events": True} | ({} if types is None else {"event_types": types})
    table = {"name": "log", "config": {"event_time": "at", "meta": {"land": land}}}
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "_sources.yml").write_text(json.dumps({"sources": [{"tables": [table]}]}))
    monkeypatch.setattr(datasets, "DATASETS", tmp_path)
    settings = Settings(home=tmp_path / "home", dataset="shop")  # type: ignore[call-arg]
    at = "2017-03-01T12:00:00Z"
    post(settings, "day=2026-11-24/a.jsonl", ("bought", "purchase", at), ("seen", "view", at))
    land_table(raw_tables(settings)[-1], settings, AS_OF)
    assert days(settings).get("2017-03-01", []) == lands
