"""What was posted to the service, in the lake: its users are pseudonyms, so a new key renames them."""

from collections.abc import Collection, Mapping

import pyarrow as pa

from zhiyin.landing.datasets import raw_tables
from zhiyin.landing.delivery import LANDED
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, file_digest, read_json, write_json
from zhiyin.store.sql import connect, quote, rows_of, written


def rename_posted(settings: Settings, renamed: Mapping[str, str], dropped: Collection[str]) -> None:
    """Rewrite the landed days with new pseudonyms, without the rows of ``dropped`` users."""
    table = next(table for table in raw_tables(settings) if table.posted)
    folder, user = settings.lake / table.name, table.user
    if not (folder / LANDED).is_file():
        return
    landed = read_json(folder / LANDED)
    with connect() as connection:
        connection.register("renamed", pa.table({"old": list(renamed), "new": list(renamed.values())}))
        connection.register("dropped", pa.table({"old": pa.array(sorted(dropped), pa.string())}))
        for name, entry in landed["files"].items():
            path = folder / name
            with atomic_file(path) as made:
                connection.execute(
                    f"copy (select days.* replace (coalesce(renamed.new, {user}) as {user})"
                    f" from read_parquet({quote(str(path))}, hive_partitioning := false) as days"
                    f" left join renamed on {user} = renamed.old where {user} not in (select old from dropped)"
                    f" order by occurred_at, event_id) to {quote(str(made))} {written()}"
                )
            entry |= {"rows": rows_of(path), "sha256": file_digest(path)}
    write_json(folder / LANDED, landed)
