"""Slate rules over HTTP: followed while serving; a broken file changes nothing, and none at all starts with one."""

from pathlib import Path
from typing import Any

from tests.serving.running import borrow, point, ready, serve

EXCLUDE = '[[rule]]\nname = "recall"\naction = "exclude"\nitems = ["{item}"]\n'
PIN = '[[rule]]\nname = "spring"\naction = "pin"\nitems = ["{item}"]\nposition = 1\n'


def test_rules_are_followed_while_serving(
    slice_home: Any, champion: tuple[Path, str], tmp_path: Path, shopper: str
) -> None:
    settings = borrow(slice_home.settings, tmp_path / "home")
    point(settings, *champion)
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nname = 'half a file")
    with serve(settings, ZHIYIN_RULES=str(rules)) as service:
        service.wait(lambda: "nothing is served until this is repaired" in service.log.read_text(), "a refusal")
        assert not ready(service)
        rules.write_text("")
        service.wait(lambda: ready(service), "a ready service")
        plain = [item["item_id"] for item in service.recommend(user_id=shopper, k=20)["items"]]

        rules.write_text(EXCLUDE.format(item=plain[0]) + PIN.format(item=plain[15]) + PIN.format(item="no such"))
        service.wait(lambda: "the rules before stay" in service.log.read_text(), "a refusal")
        assert [item["item_id"] for item in service.recommend(user_id=shopper, k=20)["items"]] == plain

        rules.write_text(EXCLUDE.format(item=plain[0]) + PIN.format(item=plain[15]))
        service.wait(lambda: service.recommend(user_id=shopper)["items"][0]["item_id"] == plain[15], "the pin")
        answer = service.recommend(user_id=shopper, explain="text")
        assert plain[0] not in {item["item_id"] for item in answer["items"]}
        first = answer["items"][0]
        moved = first["evidence"][0]
        assert (moved["kind"], moved["rule"], moved["action"]) == ("rule", "spring", "pin")
        assert moved["rank_by_score"] > 10
        assert first["reason"].startswith("Placed here by a rule (spring)")
        assert all(fact["kind"] != "rule" for item in answer["items"][1:] for fact in item["evidence"])
        assert len({line["rules"] for line in service.impressions()}) == 2
