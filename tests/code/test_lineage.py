"""``ZHIYIN_LINEAGE``: where Airflow sends OpenLineage events."""

import importlib.util
import json

import pytest

from cli.environment import lineage_environment
from cli.errors import PlatformError
from zhiyin.settings import Settings


def values(tmp_path, lineage):
    settings = Settings(home=tmp_path, dataset="movielens_100k", lineage=lineage)  # type: ignore[call-arg]
    return lineage_environment(settings)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_nothing_is_sent_unless_asked(tmp_path):
    assert values(tmp_path, None) == {"AIRFLOW__OPENLINEAGE__DISABLED": "True"}
    assert values(tmp_path, "") == {"AIRFLOW__OPENLINEAGE__DISABLED": "True"}


@pytest.mark.usefixtures("installed")
def test_a_url_and_a_file_are_places_for_events(tmp_path):
    url = values(tmp_path, "https://lineage.example/api")
    assert json.loads(url["AIRFLOW__OPENLINEAGE__TRANSPORT"]) == {"type": "http", "url": "https://lineage.example/api"}
    assert url["AIRFLOW__OPENLINEAGE__DISABLED"] == "False"
    assert url["AIRFLOW__OPENLINEAGE__NAMESPACE"] == "zhiyin.movielens_100k"
    file = values(tmp_path, str(tmp_path / "new" / "events.jsonl"))
    transport = json.loads(file["AIRFLOW__OPENLINEAGE__TRANSPORT"])
    assert transport == {"type": "file", "log_file_path": str(tmp_path / "new" / "events.jsonl"), "append": True}
    assert (tmp_path / "new").is_dir()


def test_without_the_provider_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PlatformError, match="apache-airflow-providers-openlineage"):
        values(tmp_path, str(tmp_path / "events.jsonl"))
