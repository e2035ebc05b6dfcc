"""Delta and Iceberg tables and a topic of Kafka land as files do: real tables, a broker that speaks the protocol."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from deltalake import write_deltalake
from pyiceberg.catalog import load_catalog

from zhiyin.clock import Clock
from zhiyin.landing import land_table
from zhiyin.landing.lakehouse import Delta, Iceberg
from zhiyin.landing.table import RawTable
from zhiyin.landing.topic import PLACE, Topic
from zhiyin.settings import Settings

AS_OF = Clock.parse("2017-03-04")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")  # type: ignore[call-arg]


def orders(first: int, last: int) -> pa.Table:
    query = f"""
        select
            i as id,
            'customer ' || i % 7 as customer,
            timestamp '2017-03-01 12:00' + interval (i % 3) day as bought_at
        from range({first}, {last}) as ids(i)
    """
    return duckdb.sql(query).to_arrow_table()


def landed(settings: Settings) -> list[tuple[Any, ...]]:
    files = f"{settings.lake}/orders/*/part-0.parquet"
    return duckdb.execute(
        f"select day::varchar, count(*), count(distinct id) from '{files}' group by 1 order by 1"
    ).fetchall()


def days(rows: int) -> list[tuple[Any, ...]]:
    return [(f"2017-03-0{day}", rows, rows) for day in (1, 2, 3)]


def test_a_delta_table_lands_and_is_read_again_when_it_has_a_new_version(settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "delta"
    write_deltalake(place, orders(0, 300))
    table = RawTable("orders", Delta(str(place)), day="bought_at", columns={"customer": "varchar"}, events=True)
    land_table(table, settings, AS_OF)
    assert landed(settings) == days(100)
    assert land_table(table, settings, AS_OF).written == 0
    write_deltalake(place, orders(300, 600), mode="append")
    assert land_table(table, settings, AS_OF).written == 3
    assert landed(settings) == days(200)
    with pytest.raises(FileNotFoundError, match=r"delta: .*nowhere: there is no Delta table"):
        land_table(replace(table, source=Delta(str(tmp_path / "nowhere"))), settings, AS_OF)


def test_an_iceberg_table_lands_by_its_snapshot(settings: Settings, tmp_path: Path) -> None:
    properties = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/iceberg"}
    catalog = load_catalog("zhiyin", **properties)
    catalog.create_namespace("shop")
    made = catalog.create_table("shop.orders", schema=orders(0, 1).schema)
    made.append(orders(0, 300))
    table = RawTable("orders", Iceberg("shop.orders", properties), day="bought_at", events=True)
    land_table(table, settings, AS_OF)
    assert landed(settings) == days(100)
    assert land_table(table, settings, AS_OF).written == 0
    made.append(orders(300, 600))
    land_table(table, settings, AS_OF)
    assert landed(settings) == days(200)
    with pytest.raises(FileNotFoundError, match=r"iceberg: shop.nothing: there is no such table"):
        land_table(replace(table, source=Iceberg("shop.nothing", properties)), settings, AS_OF)


class Broker:
    """librdkafka's own broker, which lives in its producer and speaks the protocol over TCP."""

    def __init__(self) -> None:
        self.producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none:1", "log_level": 0})
        broker = next(iter(self.producer.list_topics(timeout=10).brokers.values()))
        self.servers = f"{broker.host}:{broker.port}"

    def publish(self, *messages: bytes) -> None:
        for number, message in enumerate(messages):
            self.producer.produce("orders", message, key=str(number % 5))
        assert self.producer.flush(10) == 0


@pytest.fixture
def broker() -> Broker:
    return Broker()


def messages(first: int, last: int) -> list[bytes]:
    return [json.dumps(row | {"basket": {"shop": 4}}, default=str).encode() for row in orders(first, last).to_pylist()]


def test_a_topic_lands_message_by_message_and_keeps_what_the_broker_forgets(settings: Settings, broker: Broker) -> None:
    broker.publish(*messages(0, 300), b"no JSON", b"17")
    source = Topic(broker.servers, "orders")
    table = RawTable("orders", source, day="bought_at::timestamp", events=True, delivery="append", identity=PLACE)
    land_table(table, settings, AS_OF)
    assert landed(settings) == days(100)
    broker.publish(
        *messages(300, 360), messages(0, 1)[0]
    )  # the last is another event with the fields of an earlier one
    land_table(table, settings, AS_OF)
    assert landed(settings) == [("2017-03-01", 121, 120), ("2017-03-02", 120, 120), ("2017-03-03", 120, 120)]

    # A topic that is made anew begins at offset 0 again; nothing takes the place of what has landed.
    fresh = Broker()
    fresh.publish(*messages(0, 1))
    land_table(replace(table, source=Topic(fresh.servers, "orders")), settings, AS_OF)
    assert landed(settings)[0] == ("2017-03-01", 122, 120)
    with pytest.raises(FileNotFoundError, match="kafka: nothing: there is no such topic"):
        land_table(
            replace(table, source=Topic(broker.servers, "nothing", {"allow.auto.create.topics": "false"})),
            settings,
            AS_OF,
        )


def test_a_partition_that_answers_late_is_read_to_its_end(
    settings: Settings, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message at a time: one partition is read whole before the next one answers."""
    monkeypatch.setattr("zhiyin.landing.topic.AT_ONCE", 1)
    broker.publish(*messages(0, 300))
    table = RawTable("orders", Topic(broker.servers, "orders"), day="bought_at::timestamp", events=True)
    land_table(table, settings, AS_OF)
    assert landed(settings) == days(100)


def test_a_broker_that_does_not_answer_is_told_in_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.landing.topic.PATIENCE", 1.0)
    table = RawTable("orders", Topic("127.0.0.1:9", "orders"), day="bought_at", events=True, delivery="append")
    with pytest.raises(ValueError, match=r"kafka: orders: cannot be read: .*; see that the broker answers"):
        land_table(table, settings, AS_OF)
