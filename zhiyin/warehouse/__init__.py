"""The warehouse: runs dbt and publishes its marts.

Only dbt writes the DuckDB file, except the erasure of a user, which locks the file. Everyone else reads a published
version of the marts: an immutable folder of Parquet files that the text file ``CURRENT`` names.
"""

from zhiyin.store.sql import connect
from zhiyin.warehouse.build import (
    DBT_PROJECT,
    DbtError,
    build,
    built_as_of,
    dbt,
    dbt_environment,
    document,
    run_environment,
    shell,
    shell_environment,
    snapshot_days,
)
from zhiyin.warehouse.erasure import BusyError, check_idle, keep_histories
from zhiyin.warehouse.marts import (
    CURRENT,
    Marts,
    current,
    publish,
    publish_folder,
    published_marts,
)

__all__ = [
    "CURRENT",
    "DBT_PROJECT",
    "BusyError",
    "DbtError",
    "Marts",
    "build",
    "built_as_of",
    "check_idle",
    "connect",
    "current",
    "dbt",
    "dbt_environment",
    "document",
    "keep_histories",
    "publish",
    "publish_folder",
    "published_marts",
    "run_environment",
    "shell",
    "shell_environment",
    "snapshot_days",
]
