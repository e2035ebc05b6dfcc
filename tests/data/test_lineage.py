"""Column lineage: each column of a model leads to the columns that its value is made of."""

import json

import pytest

from zhiyin.warehouse.lineage import column_lineage, write_page

SQL = {
    "events": "select id as user_id, item_id, price * pieces as amount from read_parquet('lake/events/*.parquet')",
    "spending": """
        with events as (
            select * from "warehouse"."main"."events"
        ),

        summed as (
            select user_id, sum(amount) as amount, count(distinct item_id) as items
            from events
            where amount > 0
            group by user_id
        )

        select summed.*, amount / items as amount_per_item from summed
    """,
    "mixed": """
        select user_id from "warehouse"."main"."events"
        union all by name
        select amount, user_id from "warehouse"."main"."spending"
    """,
    "unreadable": "select from where",
}
COLUMNS = {
    "events": ["user_id", "item_id", "amount"],
    "spending": ["user_id", "amount", "items", "amount_per_item"],
    "mixed": ["user_id", "amount"],
    "unreadable": ["a"],
}


@pytest.fixture
def target(tmp_path):
    nodes = {
        f"model.zhiyin.{name}": {"name": name, "resource_type": "model", "compiled_code": sql}
        for name, sql in SQL.items()
    }
    catalog = {
        f"model.zhiyin.{name}": {"columns": {column: {"type": "VARCHAR"} for column in columns}}
        for name, columns in COLUMNS.items()
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    (tmp_path / "catalog.json").write_text(json.dumps({"nodes": catalog}))
    return tmp_path


def test_a_column_leads_one_model_up_through_stars_and_calculations(target):
    found = column_lineage(target)["spending"]
    assert found["user_id"] == [("events", "user_id")]
    assert found["amount"] == [("events", "amount")]
    assert found["items"] == [("events", "item_id")]
    assert found["amount_per_item"] == [("events", "amount"), ("events", "item_id")]


def test_a_query_that_cannot_be_read_hides_no_other(target):
    found = column_lineage(target)
    assert found["unreadable"] == {}
    assert ("events", "user_id") in found["mixed"]["user_id"]
    assert len(found["spending"]) == 4


def test_the_page_links_columns_of_models(target):
    assert write_page(target, target / "lineage.html") >= 5
    page = (target / "lineage.html").read_text()
    assert '<tr id="spending.items"><td>items</td><td><a href="#events.item_id">events.item_id</a></td></tr>' in page
