"""The next day's `dbt build` against a full one, on the Complete Journey.

    python -m benchmarks.increment [--rounds 3] [--as-of DATE]

Each round builds from nothing as of a day, then as of the next. Limit: the next day takes at most 15 % of the full
build. Both are also given without dbt's start (importing, reading the project), which no increment can save; the floor
is a dbt command that starts and makes nothing. At the end the tables are compared with those of a full build as of the
next day.
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
from zhiyin.clock import Clock
from zhiyin.contract import MARTS
from zhiyin.landing import land
from zhiyin.settings import Settings
from zhiyin.warehouse import dbt

LIMIT = 0.15
TABLES = (*MARTS, "quarantined_events", "int_events", "int_user_item_days")


def digests(settings: Settings) -> dict[str, Any]:
    """Rows and an order-free digest of every table."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return {
            table: connection.execute(f"select count(*), sum(hash(rows)) from {table} as rows").fetchall()
            for table in TABLES
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as-of", default="2017-12-01")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = own_home(scratch)
        today = Clock.parse(arguments.as_of, settings.label_days)
        tomorrow = Clock(today.as_of + timedelta(days=1), settings.label_days)
        land(settings, tomorrow)
        full, increment, floor = [], [], []
        for turn in range(arguments.rounds):
            full.append(timed_build(settings, today, anew=True))
            increment.append(timed_build(settings, tomorrow))
            started = time.perf_counter()
            dbt(settings, "compile", "--select", "contract_users", as_of=tomorrow.date)
            floor.append(time.perf_counter() - started)
            say(f"round {turn + 1}: full {full[-1].seconds:.1f} s, the next day {increment[-1].seconds:.1f} s")
        added = digests(settings)
        timed_build(settings, tomorrow, anew=True)
        equal = added == digests(settings)

    def median(builds: list[Build], field: str) -> float:
        return float(statistics.median(getattr(build, field) for build in builds))

    ratio = median(increment, "seconds") / median(full, "seconds")
    finish(
        "increment",
        {
            "as_of": [today.date, tomorrow.date],
            "rounds": arguments.rounds,
            "full_seconds": round(median(full, "seconds"), 1),
            "next_day_seconds": round(median(increment, "seconds"), 1),
            "ratio": round(ratio, 3),
            "ratio_to_limit": round(ratio / LIMIT, 3),
            "floor_seconds": round(statistics.median(floor), 1),
            "floor_ratio": round(statistics.median(floor) / median(full, "seconds"), 3),
            "without_dbt_start": {
                "full_seconds": round(median(full, "dbt_seconds"), 1),
                "next_day_seconds": round(median(increment, "dbt_seconds"), 1),
                "ratio": round(median(increment, "dbt_seconds") / median(full, "dbt_seconds"), 3),
            },
            "equals_a_full_build": equal,
        },
    )


if __name__ == "__main__":
    main()
