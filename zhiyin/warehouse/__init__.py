"""The warehouse: how dbt is called, and how its marts are published for everyone else.

Only dbt writes the DuckDB file, but for the erasure of a user, which takes the file for itself. Everyone else reads a
published version of the marts: a folder of Parquet files that never changes, to which the text file ``CURRENT`` points.
"""

from zhiyin.warehouse.build import (
    DBT_PROJECT,
    DbtError,
    build,
    dbt,
    dbt_environment,
    document,
    run_environment,
    snapshot_days,
)
from zhiyin.warehouse.erasure import BusyError, check_idle, erase_user
from zhiyin.warehouse.marts import (
    CURRENT,
    KEYS,
    Marts,
    connect,
    current,
    parquet_options,
    publish,
    publish_folder,
)

__all__ = [
    "CURRENT",
    "DBT_PROJECT",
    "KEYS",
    "BusyError",
    "DbtError",
    "Marts",
    "build",
    "check_idle",
    "connect",
    "current",
    "dbt",
    "dbt_environment",
    "document",
    "erase_user",
    "parquet_options",
    "publish",
    "publish_folder",
    "run_environment",
    "snapshot_days",
]
