"""Column lineage: from which columns each column of a model is made, read from dbt's compiled SQL by sqlglot."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

from zhiyin.store import read_json

Column = tuple[str, str]  # model or raw table, column
PAGE = "lineage.html"


def column_lineage(target: Path) -> dict[str, dict[str, list[Column]]]:
    """By model and column the columns that it is computed from, one step up, by dbt's manifest and catalog.

    Columns that only filter, join or order rows are not among them. A model whose SQL sqlglot cannot read has none.
    """
    manifest, catalog = read_json(target / "manifest.json"), read_json(target / "catalog.json")
    models = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    tables: dict[str, dict[str, str]] = {
        node["name"]: {column: facts["type"] for column, facts in catalog["nodes"][key]["columns"].items()}
        for key, node in models.items()
        if key in catalog["nodes"]
    }
    return {node["name"]: _of_model(node, tables) for node in sorted(models.values(), key=lambda node: node["name"])}


def _of_model(node: Mapping[str, Any], tables: Mapping[str, dict[str, str]]) -> dict[str, list[Column]]:
    schema = {name: dict(columns) for name, columns in tables.items()}
    try:
        query = parse_one(node.get("compiled_code") or "", dialect="duckdb").transform(_plain_names)
    except SqlglotError:
        return {}

    def made_of(column: str | None) -> dict[str, list[Column]]:
        try:
            found = lineage(column, query, schema=schema, dialect="duckdb")
        except (SqlglotError, ValueError, KeyError):
            return {}
        tops = found if isinstance(found, dict) else {str(column): found}
        return {name: sorted(set(_ends(top))) for name, top in tops.items()}

    # Where one column cannot be followed (`union all by name`), the others are followed one by one.
    alone = (made_of(column) for column in tables.get(node["name"], {}))
    return made_of(None) or {name: made for found in alone for name, made in found.items()}


def _plain_names(part: exp.Expression) -> exp.Expression:
    """Relations without database and schema, as ``tables`` has them."""
    if isinstance(part, exp.Table):
        part.set("db", None)
        part.set("catalog", None)
    return part


def _ends(node: Node) -> list[Column]:
    """The columns at which the walk through a model's own SQL ends."""
    ends = []
    for each in node.walk():
        if not each.downstream and isinstance(each.source, exp.Table):
            ends.append((each.source.name or "the lake", each.name.rpartition(".")[2].strip('"')))
    return ends


def write_page(target: Path, path: Path) -> int:
    """Write the lineage as a page with links from column to column; returns how many columns have one."""
    models = column_lineage(target)
    parts = [_HEAD]
    for model, columns in models.items():
        rows = "".join(
            f'<tr id="{html.escape(f"{model}.{column}")}"><td>{html.escape(column)}</td>'
            f"<td>{', '.join(_link(models, *above) for above in made_of) or 'no column'}</td></tr>"
            for column, made_of in columns.items()
        )
        parts.append(f'<h2 id="{html.escape(model)}">{html.escape(model)}</h2><table>{rows}</table>')
    path.write_text("\n".join(parts))
    return sum(bool(made_of) for columns in models.values() for made_of in columns.values())


def _link(models: Mapping[str, Any], table: str, column: str) -> str:
    words = html.escape(f"{table}.{column}")
    return f'<a href="#{words}">{words}</a>' if table in models else words


_HEAD = """<!doctype html><meta charset="utf-8"><title>Column lineage</title>
<style>body{font:14px sans-serif;margin:2em}td{padding:2px 12px 2px 0;vertical-align:top}
:target{background:#fe9}</style>
<h1>Column lineage</h1>
<p>Each column, and the columns that its value is computed from, one model up. Columns that only filter, join or order
rows are not named. <a href="index.html">All of dbt's documentation</a></p>"""
