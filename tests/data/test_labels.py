"""Labels are a set and a category path is a hierarchy: onboarding tells one from the other by what a column holds."""

from pathlib import Path

import duckdb
import pytest

from zhiyin.landing.source import Files
from zhiyin.onboarding.mapping import Proposal, propose
from zhiyin.onboarding.profile import profile

EVENTS = "select 1 as customer, 2 as sku, timestamp '2024-01-01' as ts, 5 as stars"
GENRES = ["Action|Drama", "Drama|War", "Comedy", "Comedy|Drama|Romance", "Drama", "Action|Comedy", "Romance|War"]
PATHS = ["Food|Dairy|Milk", "Food|Dairy|Cheese", "Food|Bread", "Home|Lamps", "Home|Pots|Steel", "Home"]


def proposed(folder: Path, name: str, values: list[str] | list[list[str]], **given: str) -> Proposal:
    rows = ", ".join(f"({row}, 'Thing {row}', {value!r})" for row, value in enumerate(values))
    duckdb.execute(f"copy (select * from (values {rows}) as items (sku, title, {name})) to '{folder}/items.parquet'")
    duckdb.execute(f"copy ({EVENTS}) to '{folder}/events.parquet'")
    profiles = {table: profile(Files(f"{folder}/{table}.parquet")) for table in ("events", "items")}
    return propose(profiles, {f"items.{part}": column for part, column in given.items()})


@pytest.mark.parametrize(("name", "sign"), [("category", "|"), ("genres", ", "), ("tags", "/"), ("dept", ";")])
def test_parts_that_stand_side_by_side_are_labels_whatever_the_column_is_called(
    tmp_path: Path, name: str, sign: str
) -> None:
    found = proposed(tmp_path, name, [value.replace("|", sign) for value in GENRES])
    assert found.columns["items"]["labels"].name == name
    assert found.label_separator == sign.strip()
    assert not {"category", "department"} & found.columns["items"].keys()


def test_lists_are_labels_too(tmp_path: Path) -> None:
    found = proposed(tmp_path, "categories", [value.split("|") for value in GENRES])
    assert found.columns["items"]["labels"].name == "categories"
    written = proposed(tmp_path, "categories", [str(value.split("|")).replace("'", '"') for value in GENRES])
    assert (written.columns["items"]["labels"].name, written.label_separator) == ("categories", "|")


@pytest.mark.parametrize(("name", "sign"), [("category", "|"), ("genres", " > "), ("tags", "/")])
def test_levels_of_a_path_are_a_category(tmp_path: Path, name: str, sign: str) -> None:
    found = proposed(tmp_path, name, [value.replace("|", sign) for value in PATHS])
    assert found.columns["items"]["category"].name == name
    assert found.label_separator is None


def test_a_single_word_is_a_category(tmp_path: Path) -> None:
    assert proposed(tmp_path, "genre", ["Drama", "Comedy", "War"]).columns["items"]["category"].name == "genre"


def test_what_the_engineer_said_holds(tmp_path: Path) -> None:
    assert proposed(tmp_path, "genres", GENRES, category="genres").columns["items"]["category"].name == "genres"
    found = proposed(tmp_path, "place", PATHS, labels="place")
    assert (found.columns["items"]["labels"].name, found.label_separator) == ("place", "|")
