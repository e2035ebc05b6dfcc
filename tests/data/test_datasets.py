"""The built-in datasets but the default one, through land, build and publish, and what is the same for all of them."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest
import yaml

from pipeline.erasure import erasure_of
from tests.data.homes import LATE, Warehouse, run_unit_tests
from zhiyin.clock import Clock
from zhiyin.landing import known_datasets, land
from zhiyin.landing.datasets import raw_tables
from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.settings import DATASETS, Settings
from zhiyin.warehouse import Marts, build, current, publish

PARTS = ("events", "items", "users", "promotions", "offers")


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Marts]:
    """Some 60 people of MovieLens 100K."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, dataset="movielens_100k", user_sample=60, memory_limit="1GB")  # type: ignore[call-arg]
    clock = Clock.parse("1998-04-23")
    land(settings, clock)
    build(settings, clock)
    publish(settings, clock)
    return settings, current(settings)


def test_every_dataset_provides_the_whole_contract() -> None:
    assert {"complete_journey", "movielens_100k"} <= set(known_datasets())
    for name in known_datasets():
        for part in PARTS:
            assert (DATASETS / name / f"stg_{name}__{part}.sql").is_file()
            (model,) = yaml.safe_load((DATASETS / name / f"stg_{name}__{part}.yml").read_text())["models"]
            assert model["description"].startswith("One row per")


def test_the_unit_tests_of_its_models_pass(movies: tuple[Settings, Marts], tmp_path: Path) -> None:
    run_unit_tests(movies[0], "1998-04-23", tmp_path / "dbt")


def test_ratings_are_graded_feedback(movies: tuple[Settings, Marts]) -> None:
    _, marts = movies
    counted = duckdb.execute(
        f"select event_type, value, count(*) from '{marts.path('interactions')}' group by all order by all"
    ).fetchall()
    assert [(kind, value) for kind, value, _ in counted] == [("rating", float(grade)) for grade in range(1, 6)]


def test_ratings_of_one_second_keep_the_order_of_the_file(movies: tuple[Settings, Marts]) -> None:
    settings, marts = movies
    (ratings,) = (table for table in raw_tables(settings) if table.name == "ratings")
    file = Path(ratings.source.path)  # type: ignore[union-attr]
    lines = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    key = load_key(settings)
    expected: dict[str, list[str]] = {}
    for user, item, _, _ in sorted(lines, key=lambda line: float(line[3])):  # a stable sort
        expected.setdefault(pseudonymise(key, user), []).append(item)
    found = duckdb.execute(
        f"select user_id, list(item_id order by occurred_at) from '{marts.path('interactions')}' group by all"
    ).fetchall()
    assert found
    for user_id, items in found:
        assert items == [item for item in expected[user_id] if item != "267"]  # the film without a title


def test_a_film_has_its_year_and_its_genres(movies: tuple[Settings, Marts]) -> None:
    _, marts = movies
    (row,) = duckdb.execute(
        f"select title, category_path, labels, document, attributes from '{marts.path('items')}' where item_id = '11'"
    ).fetchall()
    assert row[:3] == ("Seven (Se7en) (1995)", None, ["Crime", "Thriller"])
    assert row[3] == "seven (se7en), 1995, crime, thriller"
    assert json.loads(row[4]) == {"year": 1995}


def test_ages_and_places_are_bands_and_regions_only(movies: tuple[Settings, Marts]) -> None:
    settings, marts = movies
    lake = f"{settings.lake}/people/part-0.parquet"
    raw = duckdb.execute(f'select "zip_code:token", "user_id:token" from \'{lake}\'').fetchall()
    users = duckdb.execute(f"select * from '{marts.path('users')}'").fetchall()
    values = {str(value) for row in users for value in row}
    assert not values & {value for row in raw for value in row}
    bands = {row[0] for row in duckdb.execute(f"select distinct age_band from '{marts.path('users')}'").fetchall()}
    assert bands <= {"under 18", "18-24", "25-34", "35-44", "45-54", "55-64", "65+"}


def test_offers_are_those_of_the_campaigns(warehouse: Warehouse) -> None:
    """Open ones at as_of, counted a second time from the raw tables of the lake."""
    files = f"{warehouse.settings.lake}/{{}}/part-0.parquet"
    expected = duckdb.execute(f"""
        select count(*) from (
            select distinct household_id, campaign_id, product_category
            from '{files.format("campaigns")}' as campaigns
            join '{files.format("campaign_descriptions")}' as campaign_descriptions using (campaign_id)
            join '{files.format("coupons")}' as coupons using (campaign_id)
            join '{files.format("products")}' as products using (product_id)
            where start_date < timestamp '{LATE.date}' and end_date >= timestamp '{LATE.date}'
                and product_category is not null
        )
    """).fetchall()
    published = duckdb.execute(f"""
        select sum(open_offers) from (
            select arg_max(open_offers, feature_at) as open_offers
            from '{warehouse.marts.path("user_offers")}' group by user_id
        )
    """).fetchall()
    assert published == expected
    assert expected[0][0] > 0


def test_promotions_counted_week_by_week_are_those_counted_at_once(warehouse: Warehouse, tmp_path: Path) -> None:
    """The home was built for May and then for July: the weeks between came in by an increment."""
    files = f"{warehouse.settings.lake}/promotions/*/part-0.parquet"
    at_once = f"""
        select product_id::varchar, day::timestamp, count(distinct store_id) / any_value(stores)
        from '{files}' join (select day, count(distinct store_id) as stores from '{files}' group by day) using (day)
        group by all
    """
    with duckdb.connect(str(warehouse.settings.warehouse), read_only=True) as connection:
        connection.execute(f"create temp table at_once as {at_once}")
        counted = "select item_id, week_starts_at, promoted from base_complete_journey__promotion_weeks"
        assert connection.execute(f"({counted}) except all (from at_once)").fetchall() == []
        assert connection.execute(f"(from at_once) except all ({counted})").fetchall() == []


def histories(settings: Settings) -> dict[str, int]:
    """Rows of what the warehouse alone knows: what was true when."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        tables = ("int_item_history", "int_user_history")
        return {name: connection.execute(f"select count(*) from {name}").fetchall()[0][0] for name in tables}


def test_a_forgotten_person_stays_out_of_the_next_run(movies: tuple[Settings, Marts], tmp_path: Path) -> None:
    """The source delivers the person again, and the warehouse is built from nothing."""
    shutil.copytree(movies[0].home, tmp_path / "home")
    settings = Settings(home=tmp_path / "home", dataset="movielens_100k", user_sample=60, memory_limit="1GB")  # type: ignore[call-arg]
    clock = Clock.parse("1998-04-23")
    people = f"select \"user_id:token\" from '{settings.lake}/people/part-0.parquet' order by 1"
    erasure = erasure_of(settings, duckdb.execute(people).fetchall()[0][0])
    before, found = histories(settings), erasure.find()
    assert {path.relative_to(settings.data).parts[0] for path in found} == {"lake", "marts", "warehouse.duckdb"}
    erasure.erase(found)
    assert erasure.find() == {}
    erased = current(settings)
    kept = histories(settings)
    assert kept == {"int_item_history": before["int_item_history"], "int_user_history": before["int_user_history"] - 1}

    shutil.rmtree(settings.lake)
    land(settings, clock)
    build(settings, clock)
    built = publish(settings, clock)
    assert erasure.find() == {}
    for mart in ("interactions", "users", "user_item_repeats"):
        apart = f"select count(*) from (from '{erased.path(mart)}' except all from '{built / mart}.parquet')"
        assert duckdb.execute(apart).fetchall() == [(0,)]
        assert (
            duckdb.execute(f"select count(*) from '{built / mart}.parquet'").fetchall()[0][0]
            == (erased.manifest["rows"][mart])
        )
