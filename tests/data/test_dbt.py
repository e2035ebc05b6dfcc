"""dbt by hand: an edit is made and tested in a file of one's own, and the warehouse stays as it is."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.data.homes import LATE, Warehouse
from zhiyin.settings import Settings
from zhiyin.warehouse import DbtError, built_as_of, shell, shell_environment
from zhiyin.warehouse.build import dbt
from zhiyin.warehouse.failures import explain_warnings


def test_an_edited_model_and_what_follows_are_built_in_a_file_of_ones_own(
    warehouse: Warehouse, edited_project: Callable[[str, str, str], None]
) -> None:
    """Slim CI: the feature is one line, what is not edited is read from the warehouse, which nobody writes."""
    settings = warehouse.settings
    before = settings.warehouse.stat().st_mtime_ns, (settings.dbt_target / "manifest.json").read_bytes()
    edited_project(
        "models/intermediate/int_user_windows.sql",
        "{% set features = [",
        '{% set features = [\n    {"name": "pieces_14d", "days": 14, "total": "sum(pieces)", "type": "double"},',
    )
    edited_project(
        "models/marts/user_activity.yml",
        "      - name: amount_28d\n",
        "      - name: pieces_14d\n        data_type: double\n        description: Pieces in the last 14 days.\n"
        "      - name: amount_28d\n",
    )
    assert shell(settings, LATE, ["build", "--select", "state:modified+"], dev="alice") == 0
    assert (settings.warehouse.stat().st_mtime_ns, (settings.dbt_target / "manifest.json").read_bytes()) == before
    with duckdb.connect(str(settings.dev / "alice" / "alice.duckdb"), read_only=True) as connection:
        made = connection.execute("select table_name from information_schema.tables where table_schema = 'main'")
        assert sorted(made.fetchall()) == [("int_user_windows",), ("user_activity",)]
        assert connection.execute("select max(pieces_14d) > 0 from user_activity").fetchall() == [(True,)]


@pytest.mark.parametrize(
    "command",
    [["ls"], ["test", "-s", "item_activity"], ["show", "-s", "user_activity"], ["source", "freshness"]],
    ids=" ".join,
)
def test_dbt_s_commands_work_in_a_shell_as_of_the_last_build(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("ZHIYIN_HOME", str(warehouse.settings.home))
    assert built_as_of(warehouse.settings) == LATE.date
    assert CliRunner().invoke(app, ["dbt", *command]).exit_code == 0


def test_a_name_that_would_hide_the_warehouse_and_a_missing_warehouse_are_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="no name for a file of one's own"):
        shell_environment(settings, LATE, dev="warehouse")
    with pytest.raises(FileNotFoundError, match="no warehouse to defer to"):
        shell_environment(settings, LATE, dev="alice")
    assert built_as_of(settings) is None


def test_a_broken_rule_is_named_with_rows_and_a_broken_warning_stops_nothing(
    warehouse: Warehouse, edited_project: Callable[[str, str, str], None], tmp_path: Path
) -> None:
    settings, rules = warehouse.settings, "            rules:\n              - user_id is not null\n"
    command = ("test", "--select", "interactions_keeps_its_rules")
    edited_project("models/marts/interactions.yml", rules, f"            warnings: [value < 2]\n{rules}")
    dbt(settings, *command, clock=LATE, target=tmp_path / "dbt")
    (told,) = explain_warnings(tmp_path / "dbt", settings.warehouse)
    first, *rows = told.splitlines()
    assert first.startswith("- rule 'value < 2' of interactions (models/marts/interactions.yml): ")
    assert first.endswith(" rows break it, which is no more than a warning")
    assert len(rows) == 5
    assert all(json.loads(row)["value"] >= 2 for row in rows)

    edited_project(
        "models/marts/interactions.yml", rules, f"{rules}              - item_id != ''\n              - value < 3\n"
    )
    with pytest.raises(DbtError) as failed:
        dbt(settings, *command, clock=LATE, target=tmp_path / "dbt")
    said = [line for line in str(failed.value).splitlines() if line.startswith("- rule")]
    assert [line.split(" of ")[0] for line in said] == ["- rule 'value < 3'", "- rule 'value < 2'"]
    assert "with {" not in str(failed.value)
