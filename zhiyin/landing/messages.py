"""DuckDB's errors about a source, as one line without secrets."""

import os
import re

import duckdb

LINES = 3  # of DuckDB's message that are kept; after them comes the query
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
SECRETS = re.compile(
    r"""(?ix) (\b(?: password | passwd | s3_secret_access_key | s3_session_token)\s*=\s*)
        (?: '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | [^\s&"']+ )"""
)
ADDRESS = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")  # user:password@host


def without_secrets(text: str) -> str:
    """A location or a connection string with its secrets replaced by stars."""
    return ADDRESS.sub(r"\1***@", SECRETS.sub(r"\1***", text))


def one_line(error: duckdb.Error, given: str) -> str:
    """The error's first lines, joined into one.

    ``given``: the location or connection string of the definition; values of its environment variables are hidden.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:LINES]).replace(os.path.expandvars(given), given)
    for name in {name for names in VARIABLE.findall(given) for name in names if name in os.environ}:
        value = os.environ[name]
        # A driver that cannot read the string quotes words of it.
        for part in sorted({value, *value.split()}, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", f"${name}", text)
    return without_secrets(text).rstrip(".")
