"""Text about what failed in a dbt run: the model or test, how many rows fail it, and some of them."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from zhiyin.store import read_json
from zhiyin.store.sql import open_database

RUN_RESULTS = "run_results.json"
ROWS = 5  # shown of those that break a rule
MOST_RULES = 100  # of a test
CURE = "Mend the source, or the model that the rule is about, and run the step again."


def explain_failures(target: Path, warehouse: Path) -> str | None:
    """The failures of the last run from its ``run_results.json``; None where dbt wrote none."""
    failed = _explanations(target, warehouse, ("error", "fail"))
    return "\n".join([*failed, CURE]) if failed else None


def explain_warnings(target: Path, warehouse: Path) -> list[str]:
    """What the last run was warned of, an entry for each test."""
    return _explanations(target, warehouse, ("warn",))


def _explanations(target: Path, warehouse: Path, statuses: Sequence[str]) -> list[str]:
    if not (target / RUN_RESULTS).is_file() or not (target / "manifest.json").is_file():
        return []
    met = [result for result in read_json(target / RUN_RESULTS)["results"] if result["status"] in statuses]
    if not met:
        return []
    nodes = {**(manifest := read_json(target / "manifest.json"))["nodes"], **manifest["unit_tests"]}
    return [_explain(result, nodes[result["unique_id"]], warehouse) for result in met]


def _explain(result: dict[str, Any], node: dict[str, Any], warehouse: Path) -> str:
    kind, path = node["resource_type"], node["original_file_path"]
    message = _plain(result["message"])
    if kind != "test" or result["status"] == "error":
        return f"- {kind.replace('_', ' ')} {node['name']} ({path}): {message}"
    if (node.get("test_metadata") or {}).get("name") == "holds":
        return "\n".join(_broken_rules(result, node, warehouse))
    about = node.get("description") or _rule(node)
    lines = [f"- {about} ({path}): {result['failures']} rows break it"]
    return "\n".join([*lines, *_shown(result["compiled_code"], warehouse)])


def _broken_rules(result: dict[str, Any], node: dict[str, Any], warehouse: Path) -> Iterator[str]:
    """Of a test ``holds``, each rule that is broken and some of the rows that break it."""
    model, path = _model(node), node["original_file_path"]
    for broken in _rows(result["compiled_code"], warehouse, MOST_RULES):
        known = "" if broken["fails"] else ", which is no more than a warning"
        yield f"- rule {broken['rule']!r} of {model} ({path}): {broken['broken_rows']} rows break it{known}"
        yield from _shown(broken["query"], warehouse)


def _rule(node: dict[str, Any]) -> str:
    """A generic test as a sentence: ``not_null of item_id in interactions``."""
    facts = node.get("test_metadata")
    if not facts:
        return f"test {node['name']}"
    given = {
        k: v for k, v in facts["kwargs"].items() if k not in ("model", "column_name") and "get_where" not in str(v)
    }
    about = f"of {node['column_name']} " if node.get("column_name") else ""
    return f"test {facts['name']} {about}in {_model(node)}" + (f" with {json.dumps(given)}" if given else "")


def _model(node: dict[str, Any]) -> str:
    return re.sub(r"^.*\.", "", node.get("attached_node") or "")


def _shown(query: str, warehouse: Path) -> list[str]:
    return [f"    {json.dumps(row, default=str)}" for row in _rows(query, warehouse, ROWS)]


def _rows(query: str, warehouse: Path, most: int) -> list[dict[str, Any]]:
    """The first rows of a query; none where they cannot be read without dbt's own functions."""
    try:
        with open_database(warehouse, read_only=True) as connection:
            cursor = connection.execute(f"select * from ({query}) limit {most}")
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.Error:
        return []


def _plain(text: str | None) -> str:
    """Without terminal colours and empty lines."""
    lines = re.sub(r"\x1b\[\d*m", "", text or "").splitlines()
    return " ".join(line.strip() for line in lines if line.strip())[:1000]
