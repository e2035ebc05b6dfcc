"""What onboarding sees in a company's files and asks before it writes anything."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import duckdb
import pytest
import yaml
from rich.console import Console

from cli.onboard_tables import show_ignored, show_source
from zhiyin.landing.checks import check
from zhiyin.landing.exclusions import check_exclusions
from zhiyin.landing.source import Files
from zhiyin.landing.table import RawTable
from zhiyin.onboarding.deliveries import Delivery, delivery_of
from zhiyin.onboarding.mapping import UnclearError, propose
from zhiyin.onboarding.moments import SourceClock
from zhiyin.onboarding.onboard import Plan, plan, source_at
from zhiyin.onboarding.profile import Profile, profile
from zhiyin.recommender.recipe import read_recipe
from zhiyin.store.extensions import load_extension

ITEMS = "select i as sku, 'Lamp of kind ' || i as title, 5.0 + i as price from range(20) as numbers (i)"
EVENTS = """
    select 100 + i % 30 as customer, i * 7 % 20 as sku, timestamp '2024-01-01' + interval (i) hour as ts,
        1 + i % 3 as qty, (1 + i % 3) * (5.0 + i * 7 % 20) as paid
    from range(600) as numbers (i)
"""
NO_ANSWERS = MappingProxyType[str, str]({})


def profiles_of(folder: Path, events: str = EVENTS, items: str = ITEMS, **options: str) -> dict[str, Profile]:
    """The shop's files, a semicolon between the columns."""
    found = {}
    for table, sql in (("events", events), ("items", items)):
        path = folder / f"{table}.csv"
        duckdb.execute(f"copy ({sql}) to '{path}' (header, delimiter ';')")
        found[table] = profile(source_at(str(path), options if table == "events" else {}))
    return found


def planned(
    folder: Path,
    events: str = EVENTS,
    items: str = ITEMS,
    given: MappingProxyType[str, str] | dict[str, str] = NO_ANSWERS,
    exclude: Sequence[str] = (),
    **options: str,
) -> Plan:
    return plan("shop", profiles_of(folder, events, items, **options), given, SourceClock(), exclude)


def words(found: Plan) -> str:
    return "\n".join(f"{finding.words} -> {finding.flag}" for finding in found.findings)


def test_nothing_is_asked_and_nothing_found_where_all_is_clear(tmp_path: Path) -> None:
    found = planned(tmp_path)
    assert (found.questions, found.advice, found.findings) == ((), (), ())
    assert "['user_id', 'item_id', 'event_type', 'occurred_at']" in found.texts["stg_shop__events.sql"]
    assert "recipe.toml" not in found.texts


def test_what_later_deliveries_bring_is_guessed_and_how_fresh_the_log_should_be(tmp_path: Path) -> None:
    source = yaml.safe_load(planned(tmp_path).texts["_sources.yml"])["sources"][0]["tables"][0]["config"]
    assert source["meta"]["land"]["delivery"] == "append"  # one file, of which a later one may hold new rows only
    assert "identity" not in source["meta"]["land"]
    assert source["freshness"]["error_after"] == {"count": 7, "period": "day"}
    assert "days: 7" in planned(tmp_path).texts["stg_shop__events.yml"]  # a test of the build, which the DAG runs

    numbered = EVENTS.replace("as ts,", "as ts, i as event_id,")
    found = planned(tmp_path, numbered)
    assert found.delivery == Delivery("append", ("event_id",), "rows have an id, event_id, so they can be merged")
    receipts = planned(tmp_path, EVENTS.replace("as ts,", "as ts, i // 2 as event_id,"))
    assert receipts.delivery is not None
    assert receipts.delivery.identity == ()  # an id that several rows have names none of them

    (tmp_path / "days").mkdir()
    piled = profiles_of(tmp_path / "days")
    glob = profile(source_at(str(tmp_path / "days" / "event*.csv"), {}))
    assert delivery_of(glob, propose(piled, {})).kind == "replace"
    assert delivery_of(glob, propose(piled, {}), "snapshot").kind == "snapshot"
    with pytest.raises(UnclearError, match="a delivery is one of append, replace, snapshot"):
        delivery_of(glob, propose(piled, {}), "sometimes")


def test_all_questions_come_at_once(tmp_path: Path) -> None:
    events = (
        "select i % 3 as who, i % 4 as whom, i % 20 as sku, 'gazed' as action, 'fifth of March' as ts, 'x' as a"
        " from range(60) as numbers (i)"
    )
    found = planned(tmp_path, events, "select i as sku from range(20) as numbers (i)", {"items.brand": "maker"})
    asked = [question.partition(":")[0] for question in found.questions]
    assert asked == [
        "--map items.brand=maker",
        "events.user_id",
        "items.title",
        "events.event_type",
        "events.occurred_at",
    ]
    assert found.texts == {}


def test_what_nothing_takes_is_listed_and_money_among_it_is_asked_for(tmp_path: Path) -> None:
    events = EVENTS.replace("as paid", "as Price").replace("from range", ", i as till, 'x' as note from range")
    found = planned(tmp_path, events)
    (asked,) = found.advice  # onboarding goes on without an answer
    assert found.texts
    assert asked.startswith("events.amount: Price may hold what was paid")
    console = Console(record=True, width=200)
    show_ignored(console, profiles_of(tmp_path, events), found.proposal)
    shown = console.export_text()
    assert "events: ignored are Price, till, note" in shown
    assert "of these Price may be money; --map events.PART=COLUMN" in shown

    assert planned(tmp_path, events, given={"events.amount": ""}).advice == ()
    of_pieces = planned(tmp_path, events, given={"events.unit_price": "Price"}).texts["stg_shop__events.sql"]
    assert 'coalesce(try_cast(qty as double), 1) * try_cast("Price" as double)' in of_pieces


def test_rows_that_differ_in_numbers_alone_are_counted_and_kept_apart(tmp_path: Path) -> None:
    twice = "select 101 as customer, 3 as sku, timestamp '2024-01-05 08:30' as ts, {} as qty, {} as paid"
    three = f"{EVENTS} union all {twice.format(1, 5)} union all {twice.format(2, 10)} union all {twice.format(2, 9)}"
    found = planned(tmp_path, three)
    assert "2 of the rows differ from another in qty, paid alone" in words(found)
    identity = "['user_id', 'item_id', 'event_type', 'occurred_at', 'value', 'amount']"
    assert f"event_id({identity})" in found.texts["stg_shop__events.sql"]

    # Deliveries at two moments are corrections: the latest counts.
    moments = three.replace("as paid", "as paid, timestamp '2024-02-01' as loaded_at", 1).replace(
        "5 as paid", "5 as paid, timestamp '2024-02-02'"
    )
    moments = moments.replace("10 as paid", "10 as paid, timestamp '2024-02-03'")
    moments = moments.replace("9 as paid", "9 as paid, timestamp '2024-02-04'")
    assert "alone" not in words(planned(tmp_path, moments))


def test_rows_that_share_an_id_and_differ_are_counted(tmp_path: Path) -> None:
    found = planned(tmp_path, EVENTS.replace("select", "select i // 60 as id,"))
    assert "of the rows share id with another row of their user, and differ" in words(found)
    assert "--map events.event_id=" in words(found)
    assert "share" not in words(planned(tmp_path, EVENTS.replace("select", "select i as id,")))


@pytest.mark.parametrize(
    ("written", "options", "decimal"),
    [
        (("12,50", "1.234,50", "3"), {}, ","),
        (("12.50", "1,234.50", "3"), {}, "."),
        (("12.50", "1234.50", "3"), {}, None),
        (("1,234", "5,678", "9,012"), {"decimal_separator": ","}, ","),
        (("1,234", "5,678", "9,012"), {"decimal_separator": "."}, "."),
    ],
)
def test_numbers_are_read_as_they_are_written(
    tmp_path: Path, written: tuple[str, ...], options: dict[str, str], decimal: str | None
) -> None:
    events = EVENTS.replace("(1 + i % 3) * (5.0 + i * 7 % 20)", f"{list(written)}[1 + i % 3]")
    found = planned(tmp_path, events, **options)
    column = found.proposal.columns["events"]["amount"]
    assert (column.decimal, column.unclear, found.questions) == (decimal, False, ())
    table = yaml.safe_load(found.texts["_sources.yml"])["sources"][0]["tables"][0]
    kinds = {column["name"]: column.get("data_type") for column in table["columns"]}
    assert kinds["paid"] == (None if decimal else "double")
    assert (f"written_number('paid', 'decimal(12, 2)', '{decimal}')" in found.texts["stg_shop__events.sql"]) == bool(
        decimal
    )


def test_a_number_that_may_be_either_is_asked_about(tmp_path: Path) -> None:
    (asked,) = planned(tmp_path, EVENTS.replace("(1 + i % 3) * (5.0 + i * 7 % 20)", "'1,234'")).questions
    assert "--option events.decimal_separator=, or --option events.decimal_separator=." in asked


def test_a_renamed_column_in_a_file_of_a_glob_is_one_line_with_its_name(tmp_path: Path) -> None:
    for month, name in ((1, "customer"), (2, "customer"), (3, "client")):
        duckdb.execute(f"copy (select 1 as {name}, 2 as sku) to '{tmp_path}/m{month}.csv' (header)")
    source = source_at(f"{tmp_path}/m*.csv", {})
    told = r"m3\.csv has no column customer, as 2 of 3 files have, and has client, which they do not"
    with pytest.raises(ValueError, match=told) as refused:
        profile(source)
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match=told), duckdb.connect() as connection:
        check(connection, RawTable("events", source))


def test_different_values_are_counted_and_an_estimate_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb.execute(f"copy (select i % 4001 as id from range(9000) as numbers (i)) to '{tmp_path}/ids.parquet'")
    source = Files(f"{tmp_path}/ids.parquet")

    def shown() -> str:
        console = Console(record=True, width=200)
        show_source(console, "events", profile(source))
        return console.export_text()

    assert " 4,001 " in shown()
    monkeypatch.setattr("zhiyin.onboarding.profile.EXACT_ROWS", 1000)
    assert "~" in shown()


# What is proposed


def test_a_user_of_many_events_and_service_lines_are_proposed_and_asked_about(tmp_path: Path) -> None:
    minutes = "timestamp '2024-01-01' + interval (i) minute"
    events = f"""{EVENTS}
        union all select 4711, i % 20, {minutes}, 1, 7.0 + i from range(1500) as numbers (i)
        union all select 101, 77, {minutes}, 1, 4.95 from range(9) as numbers (i)
    """
    items = f"{ITEMS} union all select 77, 'DOTCOM POSTAGE', 4.95 union all select 78, 'A manual of lamps for all', 9.0"
    found = planned(tmp_path, events, items)
    assert "user 4711 has 71.1% of all events, 75 times a usual user's -> --exclude events.user_id=4711" in words(found)
    assert "item 77, 'DOTCOM POSTAGE', may be no goods; 0.43% of all events -> --exclude items.item_id=77" in words(
        found
    )
    assert "78" not in words(found)
    (asked,) = found.advice
    assert "exclusions are proposed (2); say --exclude suggested for all, --exclude nothing" in asked

    suggested = yaml.safe_load(planned(tmp_path, events, items, exclude=["suggested"]).texts["_sources.yml"])
    assert suggested["sources"][0]["config"]["meta"]["exclude"] == {
        "users": [{"because": "a user of 71% of all events", "ids": ["4711"]}],
        "items": [{"because": "service line", "ids": ["77"]}],
    }
    assert "exclude" not in planned(tmp_path, events, items, exclude=["nothing"]).texts["_sources.yml"]
    one = planned(tmp_path, events, items, exclude=["items.item_id=77", "events=value > 500"]).texts["_sources.yml"]
    assert yaml.safe_load(one)["sources"][0]["config"]["meta"]["exclude"] == {
        "items": [{"because": "service line", "ids": ["77"]}],
        "events": [{"because": "value > 500", "where": "value > 500"}],
    }


def test_service_lines_of_one_name_or_category_are_proposed_together(tmp_path: Path) -> None:
    items = """
        select i as sku, 'Lamp of kind ' || i as title, 5.0 + i as price, 'Lamps' as category from range(20) as t(i)
        union all select 80 + i, 'Gift card', 10.0, 'Lamps' from range(2) as numbers (i)
        union all select 90, 'Summer', 10.0, 'VOUCHERS'
        union all select 91, 'A coupon', 10.0, 'VOUCHERS'
        union all select 92 + i, 'Bowl manual', 10.0, 'Lamps' from range(60) as numbers (i)
    """
    found = planned(tmp_path, items=items)
    assert [finding.flag for finding in found.findings] == [
        "--exclude \"items=title = 'Gift card'\"",
        "--exclude \"items=category = 'VOUCHERS'\"",
    ]
    both = planned(tmp_path, items=items, exclude=["items=title = 'Gift card'", "items.category=VOUCHERS"])
    assert [(one.because, one.where) for one in both.exclusions] == [
        ("service line", "title = 'Gift card'"),
        ("service line", "category = 'VOUCHERS'"),
    ]


def test_an_id_that_says_nobody_is_proposed_when_it_has_many_events_and_no_other_is(tmp_path: Path) -> None:
    minutes = "timestamp '2024-01-01' + interval (i) minute"
    events = f"{EVENTS} union all select 0, i % 20, {minutes}, 1, 7.5 from range(150) as numbers (i)"
    assert "user 0 has 20.0% of all events" in words(planned(tmp_path, events))
    assert "user 0" not in words(planned(tmp_path, EVENTS.replace("100 + i % 30", "i % 30")))


def test_columns_of_one_value_one_price_and_names_that_are_codes_are_shown(tmp_path: Path) -> None:
    events = EVENTS.replace("(5.0 + i * 7 % 20)", "100").replace("as ts,", "as ts, 'web' as session_id,")
    items = (
        "select i as sku, 'A-' || (1000 + i) as title, 'A lamp of the kind ' || i as text, 100 as price"
        " from range(20) as numbers (i)"
    )
    shown = words(planned(tmp_path, events, items))
    assert "events.session_id: session_id holds web alone -> --map events.session_id=" in shown
    assert "items.price: price holds 100 alone -> --map items.price=" in shown
    assert "events.amount: every piece costs 100: prices tell nothing" in shown
    assert "100% of the names in title are codes, such as A-1000, A-1001, A-1002" in shown
    assert "--map items.title=text" in shown


def test_a_wrong_exclusion_is_answered_with_the_forms_that_there_are(tmp_path: Path) -> None:
    (asked,) = planned(tmp_path, exclude=["users.age=7"]).questions
    assert asked.startswith("--exclude users.age=7: write events.user_id=ID, items.item_id=ID")


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"people": []}, "meta.exclude has people; known: users, items, events"),
        ({"users": [{"because": "till", "where": "age > 3"}]}, "users, entry 1: needs because, and ids"),
        ({"items": [{"ids": ["1"]}]}, "items, entry 1: needs because, and ids or where"),
        ({"items": [{"because": "x", "ids": [1]}]}, "items, entry 1: ids are a list of texts, in quotes"),
        (
            {"events": [{"because": "x", "where": "true", "when": 1}]},
            "events, entry 1: has when; known: because, where",
        ),
    ],
)
def test_a_block_of_exclusions_that_cannot_be_read_is_refused_with_its_entry(block: object, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace(".", r"\.")):
        check_exclusions(Path("_sources.yml"), {"config": {"meta": {"exclude": block}}})


# Data that knows an order only


def test_an_order_without_dates_is_judged_by_the_last_event_of_every_user(tmp_path: Path) -> None:
    events = "select i % 40 as user, i // 40 * 7 % 20 as item, i // 40 + 1 as position from range(600) as numbers (i)"
    text = planned(tmp_path, events, given={"events.event_type": "view"}).texts["recipe.toml"]
    (tmp_path / "recipe.toml").write_text(text)
    recipe = read_recipe("shop", tmp_path / "recipe.toml")
    assert (recipe.protocol, recipe.repeats) == ("leave_one_out", False)
    assert "no day of another" in text
    again = planned(tmp_path, events.replace("% 20 as item", "% 5 as item"), given={"events.event_type": "view"})
    assert "repeats = true" in again.texts["recipe.toml"]


# DuckDB's extensions


def test_a_missing_extension_names_a_package_that_there_is(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"set extension_directory = '{tmp_path}/mine'")
        connection.execute(f"set custom_extension_repository = '{tmp_path}/nowhere'")
        with pytest.raises(FileNotFoundError, match="duckdb-extension-mysql-scanner") as missing:
            load_extension(connection, "mysql", "the orders")
    if duckdb.__version__.startswith("2"):
        assert "ends with DuckDB 1, and this is 2" in str(missing.value)
        assert "==2" not in str(missing.value)


def test_propose_knows_a_column_that_is_said_not_to_be_there(tmp_path: Path) -> None:
    found = propose(profiles_of(tmp_path), {"items.price": ""})
    assert "price" not in found.columns["items"]


def test_an_age_that_is_no_number_is_a_band(tmp_path: Path) -> None:
    shop, found = profiles_of(tmp_path), {}
    for name, age in (("bands", "'19-24'"), ("years", "19 + i")):
        path = tmp_path / f"{name}.parquet"
        duckdb.execute(f"copy (select i as user_id, {age} as age from range(9) as t(i)) to '{path}'")
        found[name] = profile(Files(str(path)))
    assert "age_band" in propose({**shop, "users": found["bands"]}, {}).columns["users"]
    assert "age" in propose({**shop, "users": found["years"]}, {}).columns["users"]
