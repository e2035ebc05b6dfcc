"""Households of the real dataset through land, dbt build and publish, once for all tests of the data."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import zhiyin.warehouse
from tests.data.homes import BUILD_MODULE, EARLY, LATE, WITHOUT_TESTS, Warehouse
from tests.data.workplaces import Workplace
from zhiyin.landing import land
from zhiyin.settings import PROJECT, Settings
from zhiyin.warehouse import build, current, publish


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Built three times; the last build, to which the marts of the tests belong, runs dbt's own tests too."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), user_sample=60, memory_limit="2GB")  # type: ignore[call-arg]
    land(settings, EARLY)
    build(settings, EARLY, *WITHOUT_TESTS)
    early = publish(settings, EARLY)

    land(settings, LATE)
    settings.warehouse.unlink()
    build(settings.model_copy(update={"threads": 1}), EARLY, *WITHOUT_TESTS)
    again = publish(settings.model_copy(update={"threads": 1}), EARLY)

    build(settings, LATE)
    publish(settings, LATE)
    return Warehouse(settings, early, again, current(settings))


@pytest.fixture
def edited_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Replaces a text in a file of the dbt project, in a copy that builds then use."""
    project = tmp_path / "project"

    def edit(file: str, old: str, new: str) -> None:
        if not project.is_dir():
            shutil.copytree(zhiyin.warehouse.DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
            monkeypatch.setattr(BUILD_MODULE, "DBT_PROJECT", project)
        text = (project / file).read_text()
        assert old in text
        (project / file).write_text(text.replace(old, new))

    return edit


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    project = tmp_path_factory.mktemp("project")
    for room in ("zhiyin", "cli", "dbt_project"):
        ignored = shutil.ignore_patterns("__pycache__", "logs", "target")
        shutil.copytree(PROJECT / room, project / room, ignore=ignored)
    return Workplace(project, tmp_path_factory.mktemp("home"))
