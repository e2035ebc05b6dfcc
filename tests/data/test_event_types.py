"""A log of views, carts and purchases, sold by the piece and by weight: what is counted of which, to the last digit."""

import shutil
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from bento.event_schemas import Event
from tests.data.test_onboarding import Workplace
from training.log_states import read_items, read_users
from zhiyin.recommender.state.catalogue import Catalogue
from zhiyin.recommender.state.history import COLUMNS, History
from zhiyin.settings import PROJECT

AS_OF = datetime(2024, 3, 13, tzinfo=UTC)

# Ann looks and buys twice, Bob looks on three days, Cem buys by weight. What a view says of money is the price shown.
LOG = """
customer,sku,action,ts,qty,paid,order_id
ann,lamp,view,2024-03-01 09:00:00,,100,
ann,lamp,view,2024-03-02 09:00:00,,100,
ann,lamp,buy,2024-03-03 09:00:00,1,100,o1
ann,lamp,view,2024-03-05 09:00:00,,100,
ann,lamp,buy,2024-03-10 09:00:00,2,200,o2
bob,lamp,view,2024-03-04 09:00:00,,100,
bob,lamp,view,2024-03-06 09:00:00,,100,
bob,lamp,cart,2024-03-08 09:00:00,5,500,
cem,lamp,buy,2024-03-04 10:00:00,1,100,o3
cem,cheese,buy,2024-03-04 10:00:00,0.35,7,o3
cem,cheese,buy,2024-03-11 10:00:00,1.25,25,o4
bob,cheese,buy,2024-03-12 10:00:00,,20,o5
""".strip()
SEEN = [f"guest{i},poster,view,2024-03-{day:02} 12:00:00,,,\n" for i in range(10) for day in (5, 6, 7)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    project, files = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("files")
    for room in ("zhiyin", "cli", "dbt_project"):
        ignored = shutil.ignore_patterns("__pycache__", "logs", "target")
        shutil.copytree(PROJECT / room, project / room, ignore=ignored)
    (files / "events.csv").write_text(LOG + "\n" + "".join(SEEN))
    (files / "items.csv").write_text("sku,title,category\nlamp,Lamp,Home\ncheese,Cheese,Food\nposter,Poster,Home\n")
    shop = Workplace(project, tmp_path_factory.mktemp("home"))
    done = shop.zhiyin(
        *("onboard", "shop", "--events", f"{files}/events.csv", "--items", f"{files}/items.csv"),
        *("--as-of", f"{AS_OF:%Y-%m-%d}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return shop


def latest(shop: Workplace, mart: str, key: str, *columns: str) -> dict[object, tuple[object, ...]]:
    """The row of each key at ``AS_OF``."""
    newest = ", ".join(f"arg_max_null({column}, feature_at)" for column in columns)
    return {row[0]: row[1:] for row in shop.warehouse("shop", f"select {key}, {newest} from {mart} group by all")}


@pytest.fixture(scope="module")
def names(shop: Workplace) -> dict[object, str]:
    """Whose pseudonym is whose, by the moments of their events."""
    found = shop.warehouse("shop", "select user_id, min(occurred_at)::varchar, count(*) from interactions group by all")
    firsts = {"2024-03-01 09:00:00": "ann", "2024-03-04 09:00:00": "bob", "2024-03-04 10:00:00": "cem"}
    return {user: firsts[first] for user, first, _ in found if first in firsts}


def test_an_item_s_prices_are_of_purchases_and_its_buyers_are_those_who_bought(shop: Workplace) -> None:
    counts = latest(shop, "item_activity", "item_id", "events", "users", "users_28d")
    assert counts == {"lamp": (9, 3, 3), "cheese": (2, 1, 1), "poster": (30, 10, 10)}
    money = latest(shop, "item_activity", "item_id", "mean_price_28d", "discount_share_28d")
    assert money == {"lamp": (100.0, 0.0), "cheese": (20.0, 0.0), "poster": (None, None)}
    habits = latest(shop, "item_activity", "item_id", "repeat_rate", "gap_days", "rebuy_rate_14d")
    assert habits == {"lamp": (0.5, 7.0, 1.5 / 12), "cheese": (1.0, 7.0, 1.5 / 11), "poster": (None, None, 0.05)}
    prices = dict(shop.warehouse("shop", "select item_id, price from items"))
    assert prices == {"lamp": 100.0, "cheese": 20.0, "poster": None}


def test_a_user_s_baskets_and_money_are_of_purchases_and_activity_is_of_everything(
    shop: Workplace, names: dict[object, str]
) -> None:
    columns = ("events_28d", "baskets_28d", "purchases_28d", "amount_28d", "mean_basket_size_90d", "distinct_items_28d")
    rows = latest(shop, "user_activity", "user_id", *columns)
    assert {names[user]: row for user, row in rows.items() if user in names} == {
        "ann": (5, 2, 2, 300.0, 1.0, 1),
        "bob": (3, 0, 0, 0.0, None, 1),
        "cem": (3, 2, 3, 132.0, 1.5, 2),
    }


def test_what_was_only_seen_is_no_habit_and_a_weight_is_kept(shop: Workplace, names: dict[object, str]) -> None:
    rows = shop.warehouse(
        "shop",
        "select user_id, repeat_item_ids, repeat_baskets, repeat_quantities from user_item_repeats"
        f" where feature_at = '{AS_OF:%Y-%m-%d}'",
    )
    assert {names[user]: tuple(row) for user, *row in rows} == {
        "ann": (["lamp"], [2], [3.0]),
        "cem": (["cheese", "lamp"], [2, 1], [1.6, 1.0]),
    }


def test_a_purchase_without_a_quantity_is_set_aside(shop: Workplace) -> None:
    aside = shop.warehouse("shop", "select item_id, value, amount, rejected_because from quarantined_events")
    assert aside == [("cheese", None, 20.0, "value missing")]


def test_the_log_read_without_the_marts_counts_the_same(shop: Workplace) -> None:
    """training/log_states.py, for a log of several types."""
    with duckdb.connect(str(shop.home / "shop/warehouse.duckdb"), read_only=True) as connection:
        items = connection.sql("from items order by item_id").to_arrow_table()
        events = connection.sql(
            f"select * replace (occurred_at at time zone 'UTC' as occurred_at) from (select {', '.join(COLUMNS)}"
            " from interactions)"
        ).to_arrow_table()
    catalogue = Catalogue.of(items, items["item_id"].to_pylist())
    log = History.of(events, catalogue, AS_OF)
    state = read_items(log, AS_OF.timestamp(), np.ones(log.n_items, bool), {})
    for name in ("events", "users", "users_28d", "mean_price_28d", "repeat_rate", "gap_days", "rebuy_rate_14d"):
        mart = latest(shop, "item_activity", "item_id", name)
        expected = [mart[item][0] for item in items["item_id"].to_pylist()]
        np.testing.assert_allclose(state.columns[name], np.array(expected, float), rtol=1e-6, err_msg=name)

    user = np.unique(log.user)
    users = read_users(log, user, np.full(len(user), AS_OF.timestamp()), catalogue)
    for name in ("events_28d", "baskets_28d", "purchases_28d", "amount_28d", "mean_basket_size_90d"):
        mart = latest(shop, "user_activity", "user_id", name)
        expected = [mart[one][0] for one in users.ids]
        np.testing.assert_allclose(users.columns[name], np.array(expected, float), rtol=1e-6, err_msg=name)
    mart = latest(shop, "user_item_repeats", "user_id", "repeat_item_ids", "repeat_quantities")
    held = {
        (user, item): quantity
        for user, (held, quantities) in mart.items()
        for item, quantity in zip(held, quantities, strict=True)
    }
    repeats = users.repeats
    mine = {
        (users.ids[owner], items["item_id"][item].as_py()): float(quantity)
        for owner, item, quantity in zip(repeats.user, repeats.item.tolist(), repeats.quantity, strict=True)
    }
    assert mine == pytest.approx(held)


def test_what_onboarding_writes_is_described_and_has_rules(shop: Workplace) -> None:
    folder = shop.project / "dbt_project/datasets/shop"
    for part in ("events", "items", "users", "promotions", "offers"):
        (model,) = yaml.safe_load((folder / f"stg_shop__{part}.yml").read_text())["models"]
        (test,) = model["data_tests"]
        assert test["holds"]["arguments"].keys() & {"rules", "grain"}
        assert all(column["description"] for column in model["columns"])
        held = shop.warehouse(
            "shop", f"select column_name from information_schema.columns where table_name = 'stg_shop__{part}'"
        )
        assert {column["name"] for column in model["columns"]} == {name for (name,) in held}


def test_a_posted_purchase_is_of_one_piece_unless_its_number_is_empty() -> None:
    posted: dict[str, Any] = {"event_type": "purchase", "item_id": "lamp"}
    assert Event.model_validate(posted).value == 1
    assert Event.model_validate(posted | {"value": 0.35}).value == 0.35
    assert Event.model_validate(posted | {"event_type": "view"}).value is None
    with pytest.raises(ValidationError, match="value is empty: say how many pieces"):
        Event.model_validate(posted | {"value": None})
