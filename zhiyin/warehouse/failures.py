"""Text about what failed in a dbt run: the model or test, how many rows fail it, and some of them."""

import json
import re
from pathlib import Path
from typing import Any

import duckdb

from zhiyin.store import read_json

RUN_RESULTS = "run_results.json"
ROWS = 5  # shown of those that break a rule
CURE = "Mend the source, or the model that the rule is about, and run the step again."


def explain_failures(target: Path, warehouse: Path) -> str | None:
    """The failures of the last run from its ``run_results.json``; None where dbt wrote none."""
    failed = _explained(target, warehouse, ("error", "fail"))
    return f"{failed}\n{CURE}" if failed else None


def explain_warnings(target: Path, warehouse: Path) -> str | None:
    """The same of the tests that warn."""
    return _explained(target, warehouse, ("warn",))


def _explained(target: Path, warehouse: Path, statuses: tuple[str, ...]) -> str | None:
    if not (target / RUN_RESULTS).is_file() or not (target / "manifest.json").is_file():
        return None
    nodes = {**(manifest := read_json(target / "manifest.json"))["nodes"], **manifest["unit_tests"]}
    failed = [result for result in read_json(target / RUN_RESULTS)["results"] if result["status"] in statuses]
    return "\n".join(_explain(result, nodes[result["unique_id"]], warehouse) for result in failed) or None


def _explain(result: dict[str, Any], node: dict[str, Any], warehouse: Path) -> str:
    kind, path = node["resource_type"], node["original_file_path"]
    message = _plain(result["message"])
    if kind != "test" or result["status"] == "error":
        return f"- {kind.replace('_', ' ')} {node['name']} ({path}): {message}"
    about = node.get("description") or _rule(node)
    lines = [f"- {about} ({path}): {result['failures']} rows break it"]
    return "\n".join([*lines, *(f"    {json.dumps(row, default=str)}" for row in _rows(result, warehouse))])


def _rule(node: dict[str, Any]) -> str:
    """A generic test as a sentence: ``not_null of item_id in interactions``."""
    facts = node.get("test_metadata")
    if not facts:
        return f"test {node['name']}"
    given = {
        k: v for k, v in facts["kwargs"].items() if k not in ("model", "column_name") and "get_where" not in str(v)
    }
    about = f"of {node['column_name']} " if node.get("column_name") else ""
    model = re.sub(r"^.*\.", "", node.get("attached_node") or "")
    return f"test {facts['name']} {about}in {model}" + (f" with {json.dumps(given)}" if given else "")


def _rows(result: dict[str, Any], warehouse: Path) -> list[dict[str, Any]]:
    """Some rows that fail a test; none where they cannot be read without dbt's own functions."""
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            cursor = connection.execute(f"select * from ({result['compiled_code']}) limit {ROWS}")
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.Error:
        return []


def _plain(text: str | None) -> str:
    """Without terminal colours and empty lines."""
    lines = re.sub(r"\x1b\[\d*m", "", text or "").splitlines()
    return " ".join(line.strip() for line in lines if line.strip())[:1000]
