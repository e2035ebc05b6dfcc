"""Bad input ends in a message that names source, column, rows and cure, before a row of it enters the lake."""

import re
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from zhiyin.clock import Clock
from zhiyin.landing import datasets
from zhiyin.landing.lake import land_table
from zhiyin.landing.source import Database, Files
from zhiyin.landing.table import RawTable
from zhiyin.settings import Settings

AS_OF = Clock.parse("2017-03-04")
COLUMNS: Mapping[str, str | None] = {"customer": None, "quantity": "double", "bought_at": None}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")  # type: ignore[call-arg]


def csv(tmp_path: Path, *lines: str) -> RawTable:
    path = tmp_path / "receipts.csv"
    path.write_text("\n".join(lines) + "\n")
    return RawTable("receipts", Files(str(path), options={"delim": ","}), "try_cast(bought_at as timestamp)", COLUMNS)


def receipts(n: int = 100) -> list[str]:
    return [f"{i % 7},{1 + i % 3},2017-03-0{1 + i % 3} 10:00:00" for i in range(n)]


HEADER = "customer,quantity,bought_at"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], r"receipts\.csv \(receipts\): (cannot be read|has no rows)"),
        ([HEADER], r"receipts\.csv \(receipts\): has no rows; deliver it again"),
        (
            ["customer,pieces,bought_at", *receipts()],
            r"has no column quantity; it has customer, pieces, bought_at\. Rename it there, or change the source",
        ),
        (
            [HEADER, *(line.replace(",", ",many", 1) if i % 10 == 0 else line for i, line in enumerate(receipts()))],
            r"10 of 100 values of quantity are no double, such as 'many\d' .*correct the source",
        ),
        (
            [
                HEADER,
                *(line.replace("2017", "year 2017") if i % 10 == 0 else line for i, line in enumerate(receipts())),
            ],
            r"10 of 100 rows have no day that can be read by try_cast\(bought_at as timestamp\); correct those rows",
        ),
        (
            [HEADER, *(f"{line},more,{i}" if i % 10 == 0 else line for i, line in enumerate(receipts()))],
            r"receipts\.csv \(receipts\): 10 lines cannot be read, the first is line 2: .*deliver the file again",
        ),
    ],
    ids=["empty file", "empty table", "renamed column", "wrong type", "undated rows", "broken lines"],
)
def test_a_bad_file_is_refused_and_the_lake_stays_as_it_was(
    settings: Settings, tmp_path: Path, lines: list[str], told: str
) -> None:
    land_table(csv(tmp_path, HEADER, *receipts()), settings, AS_OF)
    before = {path: path.read_bytes() for path in settings.lake.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=re.compile(told, re.DOTALL)):
        land_table(csv(tmp_path, *lines), settings, AS_OF)
    assert {path: path.read_bytes() for path in settings.lake.rglob("*") if path.is_file()} == before


def test_few_unreadable_values_go_on_to_be_set_aside_one_by_one(settings: Settings, tmp_path: Path) -> None:
    lines = [line.replace(",", ",many", 1) if i == 5 else line for i, line in enumerate(receipts())]
    assert land_table(csv(tmp_path, HEADER, *lines), settings, AS_OF).rows == 100


def test_a_half_written_parquet_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "receipts.parquet"
    duckdb.execute(f"copy (select range as id, date '2017-03-01' as day_of from range(10000)) to '{path}'")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    table = RawTable("receipts", Files(str(path)), "day_of")
    with pytest.raises(ValueError, match=r"receipts\.parquet \(receipts\): cannot be read: .*deliver the file again"):
        land_table(table, settings, AS_OF)


def test_a_day_that_arrives_twice_lands_once_more_and_no_other(settings: Settings, tmp_path: Path) -> None:
    """Its rows are the same events: what counts them once is their id (see the unit test of int_events)."""
    land_table(csv(tmp_path, HEADER, *receipts()), settings, AS_OF)
    twice = [line for line in receipts() if "03-02" in line]
    landed = land_table(csv(tmp_path, HEADER, *receipts(), *twice), settings, AS_OF)
    assert (landed.written, landed.rows) == (1, 100 + len(twice))


# Sources


def test_several_files_are_read_as_one_table(settings: Settings, tmp_path: Path) -> None:
    for day in ("01", "02"):
        (tmp_path / f"receipts-{day}.csv").write_text(f"{HEADER}\n1,1,2017-03-{day} 10:00:00\n")
    table = RawTable("receipts", Files(f"{tmp_path}/receipts-*.csv"), "bought_at", COLUMNS)
    assert land_table(table, settings, AS_OF).files == 2


def test_a_location_may_name_a_variable_of_the_environment(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "receipts.csv").write_text(f"{HEADER}\n1,1,2017-03-01 10:00:00\n")
    monkeypatch.setenv("EXPORTS", str(tmp_path))
    assert land_table(RawTable("receipts", Files("$EXPORTS/receipts.csv"), "bought_at"), settings, AS_OF).rows == 1


def loadable(extension: str) -> bool:
    with duckdb.connect() as connection:
        try:
            connection.execute(f"install {extension}; load {extension}")
        except duckdb.Error:
            return False
    return True


def shop_database(tmp_path: Path) -> Database:
    import sqlite3

    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("create table receipts (customer integer, quantity real, bought_at text)")
    connection.executemany("insert into receipts values (?, ?, ?)", [line.split(",") for line in receipts()])
    connection.commit()
    connection.close()
    return Database("sqlite", str(path), "receipts")


def test_a_database_lands_or_says_how_its_extension_is_brought(settings: Settings, tmp_path: Path) -> None:
    table = RawTable("receipts", shop_database(tmp_path), "bought_at::timestamp", COLUMNS, events=True)
    if loadable("sqlite"):
        assert land_table(table, settings, AS_OF).rows == 100
        assert land_table(table, settings, AS_OF).written == 0
    else:
        with pytest.raises(FileNotFoundError, match=r"extension sqlite is needed.*INSTALL sqlite.*or export the table"):
            land_table(table, settings, AS_OF)


def test_a_database_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    table = RawTable("receipts", Database("sqlite", f"{tmp_path}/shop.db", "receipts"), "bought_at")
    with pytest.raises(FileNotFoundError, match=r"shop\.db: not found"):
        land_table(table, settings, AS_OF)


# The source definition


@pytest.mark.parametrize(
    ("land", "told"),
    [
        (
            "{location: a.csv, evnets: true}",
            "meta.land has evnets; known: database, day, delivery, delta, event_types, events",
        ),
        ("{location: a.csv, event_types: [buy]}", "event_types has buy; known: view, search, click, cart, purchase"),
        ("{events: true}", "needs one of location, database, delta, iceberg, kafka"),
        ("{location: a.csv, events: true}", "events need event_time"),
        ("{location: a.csv, delivery: some}", "delivery is some; known: append, replace, snapshot"),
        ("{location: a.csv, delivery: append, line: line}", "a line is a place in one delivery"),
        ("{location: a.csv, identity: [id]}", "identity is of delivery: append"),
        ("{kafka: {topics: orders}}", "kafka is .*; it takes servers, topic, options"),
        ("{location: a.csv}", "no table has meta.land with events: true"),
        ("{database: {kind: oracle, connect: x, table: y}}", "database needs kind .one of postgres, mysql, sqlite"),
    ],
)
def test_a_source_definition_that_cannot_be_used_is_refused_with_its_name(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, land: str, told: str
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "_sources.yml").write_text(
        f"sources: [{{name: shop, tables: [{{name: receipts, config: {{meta: {{land: {land}}}}}}}]}}]"
    )
    monkeypatch.setattr(datasets, "DATASETS", tmp_path)
    with pytest.raises(ValueError, match=rf"shop/_sources\.yml: .*{told}"):
        datasets.raw_tables(settings.model_copy(update={"dataset": "shop"}))
