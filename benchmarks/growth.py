"""The full `dbt build` as the log grows: the Complete Journey with 1, 4 and 16 times its households.

    python -m benchmarks.growth [--copies 1 4 16] [--as-of DATE]

Each further copy of the log has households and baskets of its own, and the same days and items; the catalogue and the
promotions stay. Limits: seconds grow no faster than rows, and dbt's process takes no more than 4 GiB, because DuckDB
spills to disk past its memory limit. On a busy machine, compare CPU seconds.
"""

import argparse
import dataclasses
import resource
import tempfile
from typing import Any

from benchmarks import finish, say
from benchmarks.dbt_build import LIMIT_BYTES, own_home, timed_build
from zhiyin.clock import Clock
from zhiyin.landing import land_table, raw_tables
from zhiyin.landing.lake import Landed
from zhiyin.landing.source import Files
from zhiyin.settings import Settings
from zhiyin.warehouse import connect

HOUSEHOLDS, BASKETS = 1_000_000, 100_000_000_000  # more than a copy has


def land_copies(settings: Settings, clock: Clock, copies: int) -> Landed:
    """Land the Complete Journey with so many times its households; what became of the log.

    In little memory: Linux counts what this process took at its peak as that of the processes that it starts.
    """
    settings = settings.model_copy(update={"memory_limit": "1GB"})
    log, *others = raw_tables(settings)
    source = settings.home / "transactions.parquet"
    with connect(settings) as connection:
        connection.execute("set preserve_insertion_order = false")
        connection.execute(f"""
            copy (
                select * replace (
                    household_id::bigint + n * {HOUSEHOLDS} as household_id,
                    basket_id::bigint + n * {BASKETS} as basket_id
                )
                from {log.source.relation()}, range({copies}) as copies(n)
            ) to '{source}'
        """)
    landed = land_table(dataclasses.replace(log, source=Files(str(source))), settings, clock)
    for table in others:
        land_table(table, settings, clock)
    source.unlink()
    return landed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--as-of", default="2017-12-31")
    arguments = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for copies in sorted(arguments.copies):
        with tempfile.TemporaryDirectory() as scratch:
            settings = own_home(scratch)
            clock = Clock.parse(arguments.as_of, settings.label_days)
            landed = land_copies(settings, clock, copies)
            built = timed_build(settings, clock, anew=True)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # runs go from small to large
            warehouse = settings.warehouse.stat().st_size
        say(
            f"{copies} x: {landed.rows:,} rows, {built.seconds:.1f} s, {built.cpu_seconds:.1f} of CPU,"
            f" {peak / 2**30:.2f} GiB"
        )
        run: dict[str, Any] = {
            "copies": copies,
            "rows": landed.rows,
            "seconds": round(built.seconds, 1),
            "cpu_seconds": round(built.cpu_seconds, 1),
            "seconds_per_million_rows": round(built.seconds / landed.rows * 1e6, 2),
            "peak_bytes": peak,
            "peak_to_limit": round(peak / LIMIT_BYTES, 3),
            "warehouse_bytes": warehouse,
        }
        first = runs[0] if runs else run
        for kind in ("seconds", "cpu_seconds"):
            run[f"growth_of_{kind}_to_rows"] = round(run[kind] / first[kind] / (run["rows"] / first["rows"]), 3)
        runs.append(run)
    finish("growth", {"as_of": clock.date, "runs": runs})


if __name__ == "__main__":
    main()
