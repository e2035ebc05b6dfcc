"""Who is on call looks, takes back, and lets go again: the champion from the shell."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.promotions import decided, promote
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.settings import Settings

FIRST, SECOND = Clock.parse("2017-12-01"), Clock.parse("2017-12-02")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A home with two promotions."""
    monkeypatch.setenv("ZHIYIN_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    settings = Settings(home=tmp_path)
    promote(settings, "aaa", FIRST)
    promote(settings, "bbb", SECOND, "aaa", gap={"mean": 0.0123, "low": 0.004, "high": 0.02})
    return settings


def say(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_status_says_champion_hold_and_last_decision(settings):
    facts = json.loads(say("status", "--json"))
    assert facts["champion"]["digest"] == "bbb"
    assert (facts["hold"], facts["last_decision"]) == ([], None)
    registry.record_decision(settings, SECOND, decided(settings, "ccc", passed=False))
    registry.rollback(settings, "odd lists")
    facts = json.loads(say("status", "--json"))
    assert facts["champion"]["digest"] == "aaa"
    assert [(hold["digest"], hold["reason"]) for hold in facts["hold"]] == [("bbb", "odd lists")]
    assert facts["last_decision"]["promote"] is False
    assert facts["last_decision"]["as_of"].startswith("2017-12-02")
    told = say("status")
    assert "champion: aaa, promoted as of 2017-12-01" in told
    assert "on hold: bbb" in told
    assert "odd lists" in told
    assert "last decision: as of 2017-12-02, challenger ccc: refuse, for it as a test wants it" in told


def test_rollback_says_what_is_on_hold_and_release_lets_go(settings):
    told = say("rollback", "--reason", "odd lists")
    assert "champion is now aaa" in told
    assert "on hold: bbb" in told
    assert "zhiyin release" in told
    assert "no longer on hold: bbb" in say("release")
    assert "nothing was on hold" in say("release")


def test_history_is_a_table_and_json(settings):
    say("rollback", "--reason", "odd lists")
    told = say("history")
    for words in ("promote", "rollback", "bbb", "+0.0123 (+0.0040 to +0.0200)", "odd lists", "2017-12-02"):
        assert words in told
    assert [entry["action"] for entry in json.loads(say("history", "--json"))] == ["promote", "promote", "rollback"]
