"""dbt-duckdb plugin: the SQL function ``pseudonym`` of every connection that dbt opens, and encrypted files."""

import functools
from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin

from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.settings import get_settings
from zhiyin.store import encryption
from zhiyin.store.sql import attach_database


class Plugin(BasePlugin):
    """Registers ``pseudonym(varchar) -> varchar``. Keys come from the settings and are in no SQL text or log of dbt.

    An encrypted warehouse is attached here, since a profile would show its key; the profile's own `attach` then does
    nothing.
    """

    def configure_connection(self, conn: Any) -> None:
        key = load_key(get_settings())
        conn.create_function("pseudonym", functools.partial(pseudonymise, key), ["VARCHAR"], "VARCHAR")
        if not encryption.is_on():
            return
        encryption.unlock(conn)
        assert self.creds is not None
        for attachment in self.creds.attach or []:
            attach_database(conn, Path(attachment.path), str(attachment.alias), read_only=bool(attachment.read_only))

    def configure_cursor(self, cursor: Any) -> None:
        if encryption.is_on():
            encryption.unlock_cursor(cursor)
            assert self.creds is not None
            cursor.execute(f"use {self.creds.database}")
