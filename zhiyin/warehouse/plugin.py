"""dbt-duckdb plugin: the SQL function ``pseudonym`` of every connection that dbt opens."""

import functools
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin

from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.settings import get_settings


class Plugin(BasePlugin):
    """Registers ``pseudonym(varchar) -> varchar``. The key comes from the settings and is in no SQL text or log."""

    def configure_connection(self, conn: Any) -> None:
        key = load_key(get_settings())
        conn.create_function("pseudonym", functools.partial(pseudonymise, key), ["VARCHAR"], "VARCHAR")
