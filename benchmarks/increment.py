"""The next day's `dbt build` against a full one, on the Complete Journey and on copies of it.

    python -m benchmarks.increment [--copies 1 4] [--rounds 3] [--as-of DATE]

Each round builds from nothing as of a day, then as of the next. Limit: the next day takes at most 15 % of the full
build. Both are also given in CPU seconds, and without dbt's start (importing, reading the project), which no increment
can save; the floor is a dbt command that starts and makes nothing. At the end the tables are compared with those of a
full build as of the next day. `--copies` multiplies the households, as in benchmarks.growth.
"""

import argparse
import statistics
import tempfile
import time
from datetime import timedelta
from typing import Any

import duckdb

from benchmarks import finish, say
from benchmarks.dbt_build import Build, own_home, timed_build
from benchmarks.growth import land_copies
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.warehouse import dbt, published_marts

LIMIT = 0.15
# Beside the published marts.
TABLES = ("quarantined_events", "int_events", "int_user_item_days", "int_user_item_repeats")


def digests(settings: Settings) -> dict[str, Any]:
    """Rows and an order-free digest of every table."""
    marts = published_marts(settings.dbt_target / "manifest.json")
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return {
            table: connection.execute(f"select count(*), sum(hash(rows)) from {table} as rows").fetchall()
            for table in (*marts, *TABLES)
        }


def compare(settings: Settings, today: Clock, tomorrow: Clock, rounds: int, copies: int) -> dict[str, Any]:
    """The figures of one size."""
    landed = land_copies(settings, tomorrow, copies)
    full: list[Build] = []
    increment: list[Build] = []
    floor: list[float] = []
    for turn in range(rounds):
        full.append(timed_build(settings, today, anew=True))
        increment.append(timed_build(settings, tomorrow))
        started = time.perf_counter()
        dbt(settings, "compile", "--select", "contract_users", clock=tomorrow)
        floor.append(time.perf_counter() - started)
        say(
            f"{copies} x, round {turn + 1}: full {full[-1].seconds:.1f} s ({full[-1].cpu_seconds:.1f} of CPU),"
            f" the next day {increment[-1].seconds:.1f} s ({increment[-1].cpu_seconds:.1f} of CPU)"
        )
    added = digests(settings)
    timed_build(settings, tomorrow, anew=True)

    def pair(field: str) -> dict[str, float]:
        whole, next_day = (
            float(statistics.median(getattr(build, field) for build in builds)) for builds in (full, increment)
        )
        return {"full": round(whole, 1), "next_day": round(next_day, 1), "ratio": round(next_day / whole, 3)}

    seconds = pair("seconds")
    return {
        "copies": copies,
        "rows": landed.rows,
        "seconds": seconds,
        "ratio_to_limit": round(seconds["ratio"] / LIMIT, 3),
        "cpu_seconds": pair("cpu_seconds"),
        "without_dbt_start": pair("dbt_seconds"),
        "floor_seconds": round(statistics.median(floor), 1),
        "equals_a_full_build": added == digests(settings),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as-of", default="2017-12-01")
    arguments = parser.parse_args()
    sizes = []
    for copies in sorted(arguments.copies):
        with tempfile.TemporaryDirectory() as scratch:
            settings = own_home(scratch)
            today = Clock.parse(arguments.as_of, settings.label_days)
            tomorrow = Clock(today.as_of + timedelta(days=1), settings.label_days)
            sizes.append(compare(settings, today, tomorrow, arguments.rounds, copies))
    finish(
        "increment", {"as_of": [today.date, tomorrow.date], "rounds": arguments.rounds, "limit": LIMIT, "sizes": sizes}
    )


if __name__ == "__main__":
    main()
