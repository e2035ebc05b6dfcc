"""Point-in-time joins of a million rows beside a plain ASOF JOIN; materialization, and its memory.

    python -m benchmarks.point_in_time [--home HOME]

lands, builds and publishes the built-in data in an empty home, or takes the published marts of HOME. Then, in one run
and drained the same way: every view of users and of items joined to at least a million (key, moment) rows, by DuckDB's
ASOF JOIN over the marts written out by hand, by ours, and by Feast's own join. Then the online store is filled in a
process of its own, with the users there are and with eight times as many.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa

from benchmarks import finish, say
from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, ITEM_ID, USER_ID
from zhiyin.settings import Settings, get_settings
from zhiyin.store import write_manifest
from zhiyin.warehouse import CURRENT, Marts, build, current, publish

AS_OF = "2017-12-01"
ROWS = 1_000_000  # at least
BATCH = 10_000  # rows of a result held at once
ROWS_A_FEAST_CALL = 100_000  # its results lie in memory whole
TIMES_USERS = 8


def prepare(settings: Settings, clock: Clock) -> None:
    from zhiyin.landing import land

    for step in (land, build, publish):
        say(step.__name__)
        step(settings, clock)


def spine(connection: duckdb.DuckDBPyConnection, marts: Marts, key: str) -> int:
    """Table ``spine``: every key at so many moments, evenly over the year before, that there are ``ROWS``."""
    mart = marts.path("users" if key == USER_ID else "items")
    connection.execute(f"create or replace table keys as select {key} from read_parquet('{mart}') order by 1")
    ((keys,),) = connection.execute("select count(*) from keys").fetchall()
    count = -(-ROWS // keys)
    moments = [marts.as_of - number * timedelta(days=330) / count for number in range(count)]
    connection.register("moments", pa.table({FEATURE_AT: pa.array(moments, pa.timestamp("us", tz="UTC"))}))
    connection.execute(f"create or replace table spine as select {key}, {FEATURE_AT} from keys, moments order by 1, 2")
    return int(keys * count)


def plain_join(marts: Marts, key: str, views: dict[str, str]) -> str:
    """The ASOF JOIN that one would write by hand: every column of every mart, as it is."""
    columns, joins = "", ""
    for view, timestamp in views.items():
        columns += f", {view}.* exclude ({key}, {timestamp})"
        joins += (
            f" asof left join read_parquet('{marts.path(view)}') as {view}"
            f" on spine.{key} = {view}.{key} and spine.{FEATURE_AT} >= {view}.{timestamp}"
        )
    return f"select spine.*{columns} from spine {joins}"


def drain(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return sum(batch.num_rows for batch in connection.sql(query).to_arrow_reader(BATCH))


def timed(work: Callable[[], int]) -> tuple[int, float]:
    started = time.perf_counter()
    rows = work()
    return rows, time.perf_counter() - started


def joins(settings: Settings, marts: Marts, key: str, service_name: str) -> dict[str, Any]:
    from feature_repo.point_in_time import connect, file_source, join_by_feast, join_query
    from feature_repo.store import mart_views, open_store

    store = open_store(settings)
    service = store.get_feature_service(service_name)
    views = {view.name: file_source(view).timestamp_field for view in mart_views(store, service)}
    with connect(settings) as connection:
        rows = spine(connection, marts, key)

        def by_feast() -> int:
            entities = connection.sql("select * from spine").to_arrow_table()
            return sum(
                join_by_feast(settings, store, service, key, entities.slice(first, ROWS_A_FEAST_CALL)).num_rows
                for first in range(0, entities.num_rows, ROWS_A_FEAST_CALL)
            )

        ways: dict[str, Callable[[], int]] = {
            "plain_asof_join": lambda: drain(connection, plain_join(marts, key, views)),
            "ours": lambda: drain(connection, join_query(store, service, key, "spine")),
            "feast": by_feast,
        }
        seconds = {}
        for name, way in ways.items():
            joined, seconds[name] = timed(way)
            say(f"{service_name}: {name}, {joined:,} rows in {seconds[name]:.1f} s")
            if joined != rows:
                raise ValueError(f"{name} gave {joined} rows of {rows}")
    return {
        "rows": rows,
        "views": list(views),
        "rows_per_second": {name: round(rows / value) for name, value in seconds.items()},
        "ours_to_plain": round(seconds["plain_asof_join"] / seconds["ours"], 3),
        "feast_to_plain": round(seconds["plain_asof_join"] / seconds["feast"], 3),
    }


def multiply_users(settings: Settings, marts: Marts, times: int) -> None:
    """Publish the marts again in another home, with every user ``times`` times, under as many names."""
    folder = settings.marts / f"{marts.version}-x{times}"
    folder.mkdir(parents=True)
    with duckdb.connect() as connection:
        for mart in marts.manifest["rows"]:
            columns = connection.sql(f"select * from read_parquet('{marts.path(mart)}')").columns
            if USER_ID not in columns or mart == "interactions":
                (folder / f"{mart}.parquet").symlink_to(marts.path(mart))
                continue
            connection.execute(
                f"copy (select {USER_ID} || '-' || copy as {USER_ID}, mart.* exclude ({USER_ID})"
                f" from read_parquet('{marts.path(mart)}') as mart, range({times}) as copies(copy) order by 1)"
                f" to '{folder / mart}.parquet' (format parquet, compression zstd, row_group_size 100_000)"
            )
    write_manifest(folder, **{name: marts.manifest[name] for name in ("dataset", "as_of", "rows")})
    (settings.marts / CURRENT).write_text(folder.name)


def materialization(settings: Settings) -> dict[str, Any]:
    """In a process of its own: rows, seconds, and its memory before (Feast's imports alone) and at its peak."""
    environment = os.environ | {"ZHIYIN_HOME": str(settings.home)}
    command = [sys.executable, "-m", "benchmarks.point_in_time", "--materialize"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(f"materialization: {figures}")
    return figures


def materialize_here() -> None:
    import feature_repo

    settings = get_settings()
    clock = Clock(current(settings).as_of, settings.label_days)
    feature_repo.apply(settings)
    before = psutil.Process().memory_info().rss
    _, seconds = timed(lambda: len(feature_repo.materialize(settings, clock)))
    # Not getrusage's: that of a child begins with its parent's.
    peak = 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
    marks = json.loads((settings.features / "watermarks.json").read_text())
    rows = sum(mark["rows"] for mark in marks.values())
    print(json.dumps({"rows": rows, "seconds": round(seconds, 1), "bytes_before": before, "peak_bytes": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="a home whose marts are published; its features stay as they are")
    parser.add_argument("--materialize", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.materialize:
        materialize_here()
        return
    with tempfile.TemporaryDirectory() as scratch:
        settings = get_settings().model_copy(update={"home": Path(scratch) / "1"})
        settings = Settings(**settings.model_dump())
        if arguments.home:
            theirs = Settings(**(settings.model_dump() | {"home": arguments.home}))
            settings.data.mkdir(parents=True)
            settings.marts.symlink_to(theirs.marts)
        else:
            prepare(settings, Clock.parse(AS_OF, settings.label_days))
        marts = current(settings)

        import feature_repo

        feature_repo.apply(settings)
        figures: dict[str, Any] = {
            service: joins(settings, marts, key, service)
            for key, service in ((USER_ID, "user_state"), (ITEM_ID, "item_state"))
        }
        many = Settings(**(settings.model_dump() | {"home": Path(scratch) / "many"}))
        multiply_users(many, marts, TIMES_USERS)
        figures["materialization"] = {
            "users_x1": materialization(settings),
            f"users_x{TIMES_USERS}": materialization(many),
            "memory_limit": settings.memory_limit,
        }
    finish("point_in_time", figures)


if __name__ == "__main__":
    main()
