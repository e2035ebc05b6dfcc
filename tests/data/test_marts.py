"""What the marts promise, checked by other means than the SQL that makes them."""

import json
import random
import re
import shutil
import statistics
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from monitoring.frames import volumes, windows
from tests.data.homes import LATE, Warehouse, run_unit_tests
from zhiyin.pseudonym import load_key, pseudonymise

DAY = timedelta(days=1)


def rows(sql: str) -> list[dict[str, Any]]:
    result = duckdb.execute(sql)
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.fixture(scope="module")
def interactions(warehouse: Warehouse) -> list[dict[str, Any]]:
    return rows(f"select * from '{warehouse.marts.path('interactions')}'")


def midnights(first: datetime, seed: int, n: int) -> list[datetime]:
    """Some midnights of the history, among them its first and its last."""
    days = (LATE.as_of.replace(tzinfo=None) - first).days
    chosen = random.Random(seed).sample(range(days + 1), min(n, days + 1))
    return [first, *(first + DAY * day for day in chosen), LATE.as_of.replace(tzinfo=None)]


# Events


def singular_test(warehouse: Warehouse, name: str, database: Path) -> list[Any]:
    """The failing rows of one of dbt's tests, as compiled in the last build, on a warehouse file."""
    sql = (warehouse.settings.dbt_target / f"compiled/zhiyin/tests/{name}.sql").read_text()
    with duckdb.connect() as connection:
        connection.execute(f"attach '{database}' as warehouse (read_only)")
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    "loss",
    [
        "delete from interactions where event_id = (select min(event_id) from interactions)",
        "truncate quarantined_events",
    ],
)
def test_a_lost_event_is_noticed(warehouse: Warehouse, tmp_path: Path, loss: str) -> None:
    broken = tmp_path / "warehouse.duckdb"
    shutil.copyfile(warehouse.settings.warehouse, broken)
    assert singular_test(warehouse, "no_event_is_lost", broken) == []
    with duckdb.connect(str(broken)) as connection:
        connection.execute(loss)
    assert len(singular_test(warehouse, "no_event_is_lost", broken)) == 1


def test_every_landed_row_is_kept_or_quarantined(warehouse: Warehouse, interactions: list[dict[str, Any]]) -> None:
    """The rules of what is no merchandise, written down a second time."""
    lake = warehouse.settings.lake
    landed = rows(f"""
        select t.*, p.department, p.product_category, p.product_type
        from '{lake}/transactions/*/part-0.parquet' t left join '{lake}/products/part-0.parquet' p using (product_id)
        where transaction_timestamp < '{LATE.date}'
    """)
    services = {"FUEL", "COUPON", "MISCELLANEOUS", "CNTRL/STORE SUP", "ELECT &PLUMBING", "PROD-WHS SALES"}
    categories = {"COUPON/MISC ITEMS", "COUPON", "COUPONS/STORE & MFG", "FUEL"}
    kept = [
        row
        for row in landed
        if row["department"] not in {None, *services}
        and row["product_category"] not in categories
        and row["product_type"] not in {"MISC SALES TRANS", "TICKETS", "DONATIONS"}
        and row["quantity"] > 0
    ]
    assert 0 < len(kept) < len(landed)
    expected = sorted((str(row["basket_id"]), str(row["product_id"]), float(row["quantity"])) for row in kept)
    assert sorted((row["basket_id"], row["item_id"], row["value"]) for row in interactions) == expected


def test_no_household_id_leaves_staging(warehouse: Warehouse) -> None:
    settings = warehouse.settings
    files = f"{settings.lake}/transactions/*/part-0.parquet"
    households = [str(row["household_id"]) for row in rows(f"select distinct household_id from '{files}'")]
    key = load_key(settings)
    pseudonyms = {pseudonymise(key, household) for household in households}
    for mart in warehouse.marts.manifest["rows"]:
        path = warehouse.marts.path(mart)
        columns = {row["column_name"]: row["column_type"] for row in rows(f"describe select * from '{path}'")}
        assert "household_id" not in columns
        if "user_id" in columns:
            assert {row["user_id"] for row in rows(f"select distinct user_id from '{path}'")} <= pseudonyms
    # Nor do they, or the key, lie in a table of the warehouse or in a text that dbt leaves behind.
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        columns_of_all = connection.execute("select table_name, column_name from information_schema.columns").fetchall()
    assert [column for column in columns_of_all if column[1] == "household_id"] == []
    for text in warehouse.settings.dbt_target.rglob("*.sql"):
        assert key.hex() not in text.read_text()


# Change points


def test_user_activity_equals_a_count_of_the_events_at_any_midnight(
    warehouse: Warehouse, interactions: list[dict[str, Any]]
) -> None:
    history = rows(f"select * from '{warehouse.marts.path('user_activity')}' order by user_id, feature_at")
    by_user = defaultdict(list)
    for event in interactions:
        by_user[event["user_id"]].append(event)
    assert {row["user_id"] for row in history} == set(by_user)

    for user in random.Random(0).sample(sorted(by_user), 15):
        points = [row for row in history if row["user_id"] == user]
        for moment in midnights(points[0]["feature_at"], seed=1, n=40):
            row = [point for point in points if point["feature_at"] <= moment][-1]
            past = [event for event in by_user[user] if event["occurred_at"] < moment]
            window = {days: [e for e in past if e["occurred_at"] >= moment - DAY * days] for days in (7, 28, 90)}
            for days, events in window.items():
                assert row[f"events_{days}d"] == len(events)
                assert row[f"baskets_{days}d"] == len({event["basket_id"] for event in events})
            assert row["amount_28d"] == pytest.approx(sum(event["amount"] for event in window[28]))
            assert row["distinct_items_28d"] == len({event["item_id"] for event in window[28]})
            baskets = len({event["basket_id"] for event in window[90]})
            assert row["mean_basket_size_90d"] == (len(window[90]) / baskets if baskets else None)
            assert row["last_event_at"] == max(event["occurred_at"] for event in past)


def test_item_activity_equals_a_count_of_the_events_at_any_midnight(
    warehouse: Warehouse, interactions: list[dict[str, Any]]
) -> None:
    history = rows(f"select * from '{warehouse.marts.path('item_activity')}' order by item_id, feature_at")
    lake = warehouse.settings.lake
    promotions = rows(f"""
        select product_id::varchar as item_id, day, count(distinct store_id) as stores
        from '{lake}/promotions/*/part-0.parquet' group by all
    """)
    stores = {
        row["day"]: row["stores"]
        for row in rows(f"""
            select day, count(distinct store_id) as stores from '{lake}/promotions/*/part-0.parquet' group by day
        """)
    }
    promoted = {(row["item_id"], row["day"]): row["stores"] / stores[row["day"]] for row in promotions}
    discounted = {
        (str(row["basket_id"]), str(row["product_id"]))
        for row in rows(f"""
            select basket_id, product_id from '{lake}/transactions/*/part-0.parquet'
            where retail_disc + coupon_disc + coupon_match_disc > 0
        """)
    }
    by_item, points_of = defaultdict(list), defaultdict(list)
    for event in interactions:
        by_item[event["item_id"]].append(event)
    for point in history:
        points_of[point["item_id"]].append(point)
    assert set(points_of) == set(by_item)

    best_sellers = sorted(by_item, key=lambda item: (-len(by_item[item]), item))[:10]
    for item in [*best_sellers, *random.Random(0).sample(sorted(by_item), 20)]:
        for moment in midnights(points_of[item][0]["feature_at"], seed=2, n=40):
            row = [point for point in points_of[item] if point["feature_at"] <= moment][-1]
            past = [event for event in by_item[item] if event["occurred_at"] < moment]
            window = {days: [e for e in past if e["occurred_at"] >= moment - DAY * days] for days in (7, 28, 90)}
            for days, events in window.items():
                assert row[f"events_{days}d"] == len(events)
            for days in (28, 90):
                assert row[f"users_{days}d"] == len({event["user_id"] for event in window[days]})
            if window[28]:
                paid, pieces = (sum(event[column] for event in window[28]) for column in ("amount", "value"))
                assert row["mean_price_28d"] == pytest.approx(paid / pieces)
                cut = sum((event["basket_id"], item) in discounted for event in window[28])
                assert row["discount_share_28d"] == pytest.approx(cut / len(window[28]))
            else:
                assert row["mean_price_28d"] is None
                assert row["discount_share_28d"] is None
            days_of = defaultdict(set)
            for event in past:
                days_of[event["user_id"]].add(event["occurred_at"].date())
            assert row["repeat_rate"] == pytest.approx(sum(len(days) > 1 for days in days_of.values()) / len(days_of))
            monday = (moment - DAY * moment.weekday()).date()
            if monday < LATE.as_of.date():
                assert row["promoted"] == pytest.approx(promoted.get((item, monday), 0))
            assert row["first_event_at"] == min(event["occurred_at"] for event in past)
            assert row["last_event_at"] == max(event["occurred_at"] for event in past)


# States


def test_sequences_and_repeats_equal_a_replay_of_the_events(
    warehouse: Warehouse, interactions: list[dict[str, Any]]
) -> None:
    sequences = rows(f"select * from '{warehouse.marts.path('user_sequences')}'")
    repeats = {
        (row["user_id"], row["feature_at"]): row
        for row in rows(f"select * from '{warehouse.marts.path('user_item_repeats')}'")
    }
    moments = {moment.replace(tzinfo=None) for moment in LATE.snapshots}
    seen = {(e["user_id"], moment) for e in interactions for moment in moments if e["occurred_at"] < moment}
    assert {(row["user_id"], row["feature_at"]) for row in sequences} == seen == set(repeats)

    longest = sorted(sequences, key=lambda row: -sum(repeats[row["user_id"], row["feature_at"]]["repeat_baskets"]))[:5]
    for row in [*longest, *random.Random(0).sample(sequences, 15)]:
        moment = row["feature_at"]
        past = sorted(
            (e for e in interactions if e["user_id"] == row["user_id"] and e["occurred_at"] < moment),
            key=lambda e: (e["occurred_at"], e["basket_id"], e["item_id"]),
        )
        assert row not in longest or len(past) > 256
        latest = past[-256:]
        assert row["sequence_item_ids"] == [event["item_id"] for event in latest]
        assert row["sequence_values"] == [event["value"] for event in latest]
        assert row["sequence_types"] == ["purchase"] * len(latest)
        assert [datetime(1970, 1, 1) + timedelta(seconds=at) for at in row["sequence_at"]] == [
            event["occurred_at"] for event in latest
        ]
        order = list(dict.fromkeys(event["basket_id"] for event in latest))
        assert row["sequence_baskets"] == [order.index(event["basket_id"]) for event in latest]

        bought = defaultdict(list)
        for event in past:
            bought[event["item_id"]].append(event)
        repeat = repeats[row["user_id"], moment]
        assert repeat["repeat_item_ids"] == sorted(
            bought, key=lambda item: (-bought[item][-1]["occurred_at"].timestamp(), item)
        )
        for index, item in enumerate(repeat["repeat_item_ids"]):
            events = bought[item]
            ages = [(moment - event["occurred_at"]) / DAY for event in events]
            assert repeat["repeat_baskets"][index] == len(events)
            assert repeat["repeat_quantities"][index] == sum(event["value"] for event in events)
            assert repeat["repeat_decayed_short"][index] == pytest.approx(sum(0.5 ** (age / 14) for age in ages))
            assert repeat["repeat_decayed_long"][index] == pytest.approx(sum(0.5 ** (age / 90) for age in ages))
            gap = (ages[0] - ages[-1]) / (len(ages) - 1) if len(ages) > 1 else -1
            assert repeat["repeat_mean_gap_days"][index] == pytest.approx(gap)


# Long logs


def test_prices_of_a_log_that_exceeds_the_memory_are_medians(warehouse: Warehouse, tmp_path: Path) -> None:
    """DuckDB's own median holds every value: it runs out of memory here."""
    items = (warehouse.settings.dbt_target / "compiled/zhiyin/models/marts/items.sql").read_text()
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), config={"threads": 2}) as connection:
        connection.execute(f"""
            set preserve_insertion_order = false;
            attach '{warehouse.settings.warehouse}' as built (read_only);
            create table int_items as from built.int_items limit 0;
            insert into int_items (item_id) select range from range(50000);
            create table interactions as
            select
                (range % 50000)::varchar as item_id,
                hash(range) % 1000000 / 100 as amount,
                1.0 as value,
                'purchase' as event_type,
                timestamp '{LATE.date}' - interval 1 day as occurred_at
            from range(2000000);
            set memory_limit = '50MB';
            create table items as {items};
        """)
        priced = connection.execute("select item_id, price from items where price is not null").fetchall()
        assert len(priced) == 50_000
        for item, price in random.Random(0).sample(priced, 20):
            paid = connection.execute(f"select amount from interactions where item_id = '{item}'").fetchall()
            assert price == pytest.approx(statistics.median(amount for (amount,) in paid), abs=0.006)


# The project


def test_the_unit_tests_of_the_models_pass(warehouse: Warehouse, tmp_path: Path) -> None:
    run_unit_tests(warehouse.settings, LATE.date, tmp_path / "dbt")


def test_every_model_says_its_grain_and_is_tested_and_every_mart_has_a_contract(warehouse: Warehouse) -> None:
    manifest = json.loads((warehouse.settings.dbt_target / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    tested = {
        parent
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        for parent in node["depends_on"]["nodes"]
    }
    for model in models:
        name = model["name"]
        assert "One row per" in model["description"], name
        assert model["unique_id"] in tested, name
        assert model["patch_path"].endswith(f"{Path(model['path']).with_suffix('.yml')}"), name
        assert all(column["description"] for column in model["columns"].values()), name
        assert model["config"]["materialized"] in {"view", "table", "incremental"}, name
        if model["fqn"][1] in {"contract", "marts"}:
            assert model["config"]["contract"]["enforced"], name
        assert manifest["groups"][f"group.zhiyin.{model['group']}"]["owner"]["email"], name
        assert model["access"] == ("public" if model["fqn"][1] == "marts" else "protected"), name
    published = {*warehouse.marts.manifest["rows"], "quarantined_events"}
    assert {model["name"] for model in models if model["fqn"][1] == "marts"} == published

    # A mart with numbers of events says of which types.
    marts = {model["name"]: model for model in models if model["fqn"][1] == "marts"}
    for name in marts.keys() - {"users", "user_history", "user_offers"}:
        if "model.zhiyin.int_events" in ancestors(manifest, marts[name]["unique_id"]):
            assert re.search(r"every type|whatever type|purchases", marts[name]["description"]), name


def ancestors(manifest: dict[str, Any], unique_id: str) -> set[str]:
    parents = manifest["parent_map"].get(unique_id, [])
    return {*parents, *(above for parent in parents for above in ancestors(manifest, parent))}


def test_every_macro_of_the_project_is_described(warehouse: Warehouse) -> None:
    manifest = json.loads((warehouse.settings.dbt_target / "manifest.json").read_text())
    ours = [macro for macro in manifest["macros"].values() if macro["package_name"] == "zhiyin"]
    own = [macro for macro in ours if not macro["name"].startswith(("test_", "materialization_"))]
    assert own
    assert [macro["name"] for macro in own if not macro["description"]] == []
    for macro in own:
        signature = re.search(r"macro \w+\(([^)]*)\)", macro["macro_sql"])
        assert signature
        named = [part.split("=")[0].strip() for part in signature[1].split(",") if part]
        assert [argument["name"] for argument in macro["arguments"]] == named, macro["name"]


def test_the_metrics_are_the_figures_of_the_weekly_page(warehouse: Warehouse) -> None:
    """Their expressions, run on the warehouse over the page's two windows."""
    settings = warehouse.settings
    manifest = json.loads((settings.dbt_target / "manifest.json").read_text())
    (model,) = manifest["semantic_models"].values()
    measures = {measure["name"]: measure for measure in model["measures"]}
    metrics = {metric["name"]: metric for metric in manifest["metrics"].values()}
    sql = {"count": "count({})", "count_distinct": "count(distinct {})", "sum": "coalesce(round(sum({}), 2), 0)"}
    figures = {}
    for name, metric in metrics.items():
        measure = measures[metric["type_params"]["measure"]["name"]]
        figures[name] = sql[measure["agg"]].format(measure["expr"])
    found = {}
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        for label, (start, end) in zip(("current", "reference"), windows(LATE), strict=True):
            row = connection.execute(
                f"select {', '.join(figures.values())} from measured_events where occurred_at >= ? and occurred_at < ?",
                [start, end],
            ).fetchall()[0]
            for name, value in zip(figures, row, strict=True):
                found.setdefault(name, {})[label] = value
    page = volumes(settings, LATE, warehouse.marts)
    assert found.keys() == page.keys()
    for name, values in page.items():
        assert found[name] == pytest.approx(values), name
