"""What a new delivery of a table does to the rows in the lake: ``meta.land.delivery``, and what may be lost by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from zhiyin.landing.table import RawTable
from zhiyin.store import file_digest, read_json
from zhiyin.store.sql import quote, written

LANDED = "_landed.json"  # beside a table's files: from which source each was written, with rows and digest
SHRINK_SHARE = 0.05  # of the rows of a day, or of a table that lands whole; when more go, the delivery is refused
FEW = 3  # rows that may go in any case: of a small day a cancelled order is a large share
SHOWN = 5  # days or files that a message names

# Columns of the two sides of a merge have the same names; a column that one side lacks is null there.
_BOTH = """
    both_sides as (
        select *, false as is_new from read_parquet({old}, hive_partitioning := false)
        union all by name
        select *, true as is_new from read_parquet({new}, hive_partitioning := false)
    )
"""


def merge(connection: duckdb.DuckDBPyConnection, table: RawTable, old: Path, new: Path) -> bool:
    """Add the rows of ``old`` to the file ``new``, for a table whose source appends; True when ``old`` changes by it.

    A row that both have is kept once, or as often as the side that has it more often. With ``table.identity`` a new row
    takes the place of old rows of the same identity; rows whose identity has a null are compared whole.
    """
    sides = _BOTH.format(old=quote(str(old)), new=quote(str(new)))
    names = [
        '"' + name.replace('"', '""') + '"'
        for name, *_ in connection.execute(
            f"describe with {sides} select * exclude (is_new) from both_sides"
        ).fetchall()
    ]
    whole = ", ".join(names)
    if table.identity:
        key = ", ".join(table.identity)
        known = " and ".join(f"({column}) is not null" for column in table.identity)
        rows = f"""
            select {whole} from both_sides
            qualify is_new or not max(is_new) over (partition by {key}, if({known}, 0, hash({whole})))
        """
    else:
        rows = f"""
            select {whole} from (
                select *, row_number() over (partition by {whole}, is_new) as nth from both_sides
            )
            qualify row_number() over (partition by {whole}, nth order by is_new desc) = 1
        """
    merged = new.with_suffix(".merged")
    connection.execute(f"copy (with {sides} from ({rows}) order by all) to {quote(str(merged))} {written()}")
    merged.replace(new)
    kept, was = quote(str(new)), quote(str(old))
    differ = f"""
        select exists (from (with {sides}
            select {whole} from read_parquet({kept}, hive_partitioning := false)
            except all select {whole} from both_sides where not is_new))
            or (select count(*) from read_parquet({kept}, hive_partitioning := false))
            <> (select count(*) from read_parquet({was}, hive_partitioning := false))
    """
    return bool(connection.execute(differ).fetchall()[0][0])


def check_losses(
    table: RawTable, lake: Mapping[str, dict[str, Any]], fresh: Mapping[str, int], gone: Mapping[str, int]
) -> None:
    """Refuse a delivery that takes too many rows away.

    ``lake``: the files that landed and are whole; ``fresh``: rows of those that the delivery writes, by name;
    ``gone``: rows of those that a snapshot no longer has.

    Raises:
        ValueError: days shrink by more than ``SHRINK_SHARE`` and ``FEW`` rows (of a snapshot: the whole table); the
            message has the numbers, and the flag that allows it.
    """
    if table.delivery == "snapshot":
        before = sum(lake[name]["rows"] for name in [*fresh, *gone] if name in lake)
        after = sum(fresh.values())
        untouched = sum(entry["rows"] for name, entry in lake.items() if name not in fresh and name not in gone)
        losses = {"the table": (before + untouched, after + untouched)}
    else:
        losses = {_day(name): (lake[name]["rows"], rows) for name, rows in fresh.items() if name in lake}
    shrunk = {
        day: (was, now) for day, (was, now) in losses.items() if now < was * (1 - SHRINK_SHARE) and now < was - FEW
    }
    if not shrunk:
        return
    shown = "; ".join(f"{day}: {was:,} rows become {now:,}" for day, (was, now) in list(shrunk.items())[:SHOWN])
    more = f"; and {len(shrunk) - SHOWN} more" if len(shrunk) > SHOWN else ""
    cure = "say `zhiyin step land --accept-loss` if that is right"
    if table.delivery == "replace" and table.day is not None:
        cure = f"if its files bring new rows only, set delivery: append in the source definition; {cure}"
    raise ValueError(
        f"{table.source} ({table.name}): the delivery takes away more than {SHRINK_SHARE:.0%} of what has landed "
        f"({shown}{more}). Nothing was changed. Deliver it whole; {cure}"
    )


def _day(name: str) -> str:
    return name[4:14] if name.startswith("day=") else "the table"


def verify_lake(lake: Path) -> None:
    """Compare every file of the lake with what landing wrote down.

    Raises:
        ValueError: files are gone, differ, or were never landed; the message names them and the cure.
    """
    wrong = []
    for listed in sorted(lake.glob(f"*/{LANDED}")):
        files = read_json(listed)["files"]
        for name, entry in files.items():
            path = listed.parent / name
            if not path.is_file():
                wrong.append(f"{listed.parent.name}/{name} is gone")
            elif file_digest(path) != entry["sha256"]:
                wrong.append(f"{listed.parent.name}/{name} is not as it was landed")
        strays = {str(path.relative_to(listed.parent)) for path in listed.parent.rglob("part-*.parquet")} - files.keys()
        wrong += [f"{listed.parent.name}/{name} was never landed whole" for name in sorted(strays)]
    if wrong:
        shown = "; ".join(wrong[:SHOWN]) + (f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
        raise ValueError(
            f"{lake}: {shown}. Run the step land, which writes again what the source still has; bring the rest back "
            "from a backup, or go on without it by `zhiyin step land --accept-loss`"
        )
