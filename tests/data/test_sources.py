"""Databases, HTTP and S3 as sources: read from real servers, by the DuckDB whose extensions come as packages."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from tests.conftest import free_port
from tests.data import servers
from tests.data.servers import PASSWORD, Bucket, Server
from zhiyin.landing.source import Database, Files
from zhiyin.settings import PROJECT

AS_OF = "2017-03-04"

# Lands every dataset of a folder, in an environment of its own, and prints what came of each.
LAND = """
import json, sys
from pathlib import Path
from zhiyin.clock import Clock
from zhiyin.landing import datasets, land
from zhiyin.settings import Settings

folder, home, as_of = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
datasets.DATASETS = folder
outcomes = {}
for name in datasets.known_datasets():
    try:
        outcomes[name] = land(Settings(home=home, dataset=name), Clock.parse(as_of))
    except (ValueError, FileNotFoundError) as error:
        outcomes[name] = str(error)
print(json.dumps(outcomes))
"""

POSTGRES = """
create schema sales;
create table sales."Orders" (
    id bigint, customer int, bought_at timestamptz, local_at timestamp, price numeric(10, 2), note text,
    attributes jsonb, tags text[], stars smallint, day_of date);
insert into sales."Orders"
select i, i % 7, timestamptz '2017-03-01 22:30:00+00' + i * interval '1 hour', '2017-03-01 22:30:00', 12.34,
    'Käse ''x''', '{"a": [1, null]}', '{a,b}', 5, '2017-03-01'
from generate_series(0, 99) as ids (i);
insert into sales."Orders" (id, bought_at) values (100, '2017-03-01 22:00:00+00');
"""

MARIADB = f"""
create database shop;
create user shop@'127.0.0.1' identified by '{PASSWORD}';
grant select on shop.* to shop@'127.0.0.1';
use shop;
set time_zone = '+00:00';
create table Orders (
    id bigint unsigned, customer int, bought_at timestamp null, local_at datetime, price decimal(10, 2), note text,
    attributes json, tags set('a', 'b'), stars tinyint(1), day_of date) character set utf8mb4;
insert into Orders
select seq, seq % 7, timestamp '2017-03-01 22:30:00' + interval seq hour, '2017-03-01 22:30:00', 12.34, 'Käse ''x''',
    '{{"a": [1, null]}}', 'a,b', 5, '2017-03-01'
from seq_0_to_99;
insert into Orders (id, bought_at) values (100, '2017-03-01 22:00:00');
create table zero (id int, bought_at timestamp null, day_of date);
set sql_mode = '';
insert into zero values (1, '2017-03-01 12:00:00', '2017-00-00');
"""


def definition(location: Mapping[str, Any], event_time: str = "bought_at", **land: Any) -> dict[str, Any]:
    config = {"event_time": event_time, "meta": {"land": {**location, "events": True, **land}}}
    return {"sources": [{"name": "shop", "tables": [{"name": "orders", "config": config}]}]}


def database(kind: str, connect: str, table: str) -> dict[str, Any]:
    return {"database": {"kind": kind, "connect": connect, "table": table}}


def land(folder: Path, definitions: Mapping[str, Mapping[str, Any]], program: str = LAND, **variables: str) -> Any:
    """What came of landing each definition: counts by table, or the message; the homes are under ``folder``."""
    python = servers.needed(str(servers.ENVIRONMENT / "python"))
    for name, source in definitions.items():
        path = folder / "datasets" / name / "_sources.yml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(source))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **variables}
    command = [python, "-c", program, folder / "datasets", folder / "home", AS_OF]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def landed(folder: Path, dataset: str, columns: str) -> list[tuple[Any, ...]]:
    files = f"{folder}/home/{dataset}/lake/orders/*/part-0.parquet"
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.execute(f"select {columns} from read_parquet('{files}') order by id").fetchall()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with servers.postgres() as server:
        server.run(POSTGRES)
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Server]:
    with servers.mariadb() as server:
        server.run(MARIADB)
        yield server


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with servers.object_store() as store:
        file = tmp_path_factory.mktemp("files") / "orders.parquet"
        for day in (1, 2):
            duckdb.execute(
                f"copy (select i as id, timestamp '2017-03-0{day} 12:00' as bought_at from range(50000) as ids(i))"
                f" to '{file}' (format parquet)"
            )
            store.put(file, f"exports/orders-{day}.parquet")
        yield store


def test_a_table_of_postgresql_lands_with_its_types(tmp_path: Path, postgres: Server) -> None:
    connect = f"host=127.0.0.1 port={postgres.port} dbname=postgres user=shop password='$SHOP_PASSWORD'"
    source = definition(database("postgres", connect, "sales.Orders"), user="customer")
    outcome = land(tmp_path, {"shop": source}, SHOP_PASSWORD=PASSWORD)
    # The server's zone is Japan, where it is the next day for most rows: days are those of UTC.
    assert outcome["shop"]["orders"] == {"rows": 51, "files": 3, "written": 3, "unchanged": 0, "removed": 0}
    first, *_, last = landed(
        tmp_path,
        "shop",
        "bought_at::varchar, local_at::varchar, price, note, attributes->>'$.a[0]', tags[2], stars, day",
    )
    assert first[:2] == ("2017-03-01 22:30:00+00", "2017-03-01 22:30:00")
    assert (str(first[2]), *first[3:7], str(first[7])) == ("12.34", "Käse 'x'", "1", "b", 5, "2017-03-01")
    assert last[1:7] == (None,) * 6


def test_a_table_of_mysql_lands_with_its_types(tmp_path: Path, mariadb: Server) -> None:
    connect = f'host=127.0.0.1 port={mariadb.port} user=shop password="$SHOP_PASSWORD" database=shop'
    source = definition(database("mysql", connect, "Orders"), user="customer")
    outcome = land(tmp_path, {"shop": source}, SHOP_PASSWORD=PASSWORD)
    assert outcome["shop"]["orders"] == {"rows": 51, "files": 3, "written": 3, "unchanged": 0, "removed": 0}
    first, *_, last = landed(
        tmp_path, "shop", "bought_at::varchar, local_at::varchar, price, note, attributes->>'$.a[0]', tags, stars, day"
    )
    # A TIMESTAMP is the moment in UTC, whatever the server's zone; a DATETIME what was written.
    assert first[:2] == ("2017-03-01 22:30:00", "2017-03-01 22:30:00")
    assert (str(first[2]), *first[3:7], str(first[7])) == ("12.34", "Käse 'x'", "1", "a,b", 5, "2017-03-01")
    assert last[1:7] == (None,) * 6


def test_a_table_of_sqlite_lands_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("create table orders (id integer, bought_at text, price real)")
        connection.executemany(
            "insert into orders values (?, ?, ?)", [(i, f"2017-03-0{1 + i % 5}", 1.5) for i in range(50)]
        )
    connection.close()
    source = definition(database("sqlite", f"{tmp_path}/shop.db", "orders"), "bought_at::timestamp")
    definitions = {"shop": source}
    assert land(tmp_path, definitions)["shop"]["orders"]["written"] == 3
    assert land(tmp_path, {}, LAND)["shop"]["orders"] == {
        "rows": 30,
        "files": 3,
        "written": 0,
        "unchanged": 3,
        "removed": 0,
    }
    assert landed(tmp_path, "shop", "id, price")[0] == (0, 1.5)


def test_a_database_that_cannot_be_read_is_one_line_without_the_password(
    tmp_path: Path, postgres: Server, mariadb: Server
) -> None:
    closed = free_port()
    pg = "host=127.0.0.1 port={port} dbname=postgres user=shop password='{password}'"
    my = 'host=127.0.0.1 port={port} user=shop password="{password}" database=shop'
    outcomes = land(
        tmp_path,
        {
            name: definition(database(kind, connect.format(port=port, password=password), table))
            for name, kind, connect, port, password, table in [
                ("pg_password", "postgres", pg, postgres.port, "geheim", "sales.Orders"),
                ("pg_quotes", "postgres", pg.replace("'", ""), postgres.port, "$SHOP_PASSWORD", "sales.Orders"),
                ("pg_table", "postgres", pg, postgres.port, PASSWORD, "sales.Order"),
                ("pg_down", "postgres", pg, closed, PASSWORD, "sales.Orders"),
                ("my_password", "mysql", my, mariadb.port, "geheim", "Orders"),
                ("my_table", "mysql", my, mariadb.port, PASSWORD, "Order"),
                ("my_down", "mysql", my, closed, PASSWORD, "Orders"),
                ("my_value", "mysql", my, mariadb.port, PASSWORD, "zero"),
            ]
        },
        SHOP_PASSWORD=PASSWORD,
    )
    told = {
        "pg_password": r"postgres: sales\.Orders: cannot be attached: .*password authentication failed",
        "pg_quotes": r"postgres: sales\.Orders: cannot be attached: .*SHOP_PASSWORD",
        "pg_table": r"postgres: sales\.Order: there is no such table; there are sales\.Orders$",
        "pg_down": r"postgres: sales\.Orders: cannot be attached: .*Connection refused",
        "my_password": r"mysql: Orders: cannot be attached: .*Access denied for user",
        "my_table": r"mysql: Order: there is no such table; there are .*Orders",
        "my_down": r"mysql: Orders: cannot be attached: .*Can't connect to server",
        "my_value": r"mysql: zero \(orders\): cannot be landed: .*2017-0-0.*; see that the server answers",
    }
    for name, pattern in told.items():
        with pytest.raises(ValueError, match=pattern):
            raise ValueError(outcomes[name])
        assert "\n" not in outcomes[name]
        assert not any(secret in outcomes[name] for secret in ("geheim", PASSWORD, *PASSWORD.split())), outcomes[name]
    assert not list((tmp_path / "home").rglob("*.parquet"))


def test_what_was_checked_is_what_lands(tmp_path: Path, postgres: Server) -> None:
    """A row without a moment, which is refused, comes in between: the next run meets it."""
    connect = f"host=127.0.0.1 port={postgres.port} dbname=postgres user=shop password='$SHOP_PASSWORD'"
    postgres.run("create table late (id int, bought_at timestamptz); insert into late values (1, '2017-03-01')")
    insert = [*postgres.client, "-c", "insert into late values (2, '2017-03-02'), (3, null)"]
    between = (
        "import subprocess\nfrom zhiyin.landing import lake\nchecked = lake.check\n"
        "def check(connection, table):\n"
        "    checked(connection, table)\n"
        f"    table.name == 'orders' and subprocess.run({insert!r}, check=True)\n"
        "lake.check = check\n"
    )
    definitions = {"shop": definition(database("postgres", connect, "late"))}
    outcome = land(tmp_path, definitions, between + LAND, SHOP_PASSWORD=PASSWORD, **postgres.variables)
    assert outcome["shop"]["orders"]["rows"] == 1
    assert "1 of 3 rows have no day that can be read by bought_at" in land(tmp_path, {}, SHOP_PASSWORD=PASSWORD)["shop"]


def test_files_over_http_and_s3_land(tmp_path: Path, bucket: Bucket) -> None:
    style = "?s3_url_style=path"
    outcomes = land(
        tmp_path,
        {
            name: definition({"location": location})
            for name, location in {
                "http": f"{bucket.http}/exports/orders-1.parquet",
                "gone": f"{bucket.http}/exports/orders-9.parquet",
                "down": f"http://127.0.0.1:{free_port()}/orders.parquet",
                "s3": f"s3://lake/exports/*.parquet{style}",
                "s3_gone": f"s3://lake/exports/orders-9.parquet{style}",
                "s3_key": f"s3://lake/exports/orders-1.parquet{style}&s3_secret_access_key=geheim",
            }.items()
        },
        **bucket.variables,
    )
    assert outcomes["http"]["orders"]["rows"] == 50_000
    assert outcomes["s3"]["orders"] == {"rows": 100_000, "files": 2, "written": 2, "unchanged": 0, "removed": 0}
    for name, told in {"gone": "404", "down": "connect", "s3_gone": "404", "s3_key": "403"}.items():
        assert told in outcomes[name]
        assert "cannot be read" in outcomes[name]
        assert "geheim" not in outcomes[name]
        assert "\n" not in outcomes[name]


def test_a_message_hides_what_a_variable_holds_and_what_a_string_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "kein Wort")
    shop = Database("postgres", "host=db password=$SHOP_PASSWORD", "orders")
    error = duckdb.IOException('missing "=" after "Wort" in "host=db password=kein Wort"\n\ton db\n\n\nLINE 1: select')
    assert shop.explain(error) == 'missing "=" after "$SHOP_PASSWORD" in "host=db password=***" on db LINE 1: select'
    address = Database("postgres", "postgres://shop:geheim@db/shop", "orders")
    assert "geheim" not in address.explain(duckdb.IOException('cannot reach "postgres://shop:geheim@db/shop"'))
    assert "geheim" not in str(Files("s3://lake/a.parquet?s3_secret_access_key=geheim&s3_use_ssl=false"))
