"""The audit counts sentences again from the lake: what is true passes, and each planted fault is found."""

import json
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring.audit import Audit, AuditedList, Event, audit
from tests.conftest import Slice
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts

NOW = datetime(2017, 12, 1)
MILK, BREAD, OTHER_MILK, SOAP = "1", "2", "3", "4"
TITLES = {MILK: "Milk", BREAD: "Bread", OTHER_MILK: "milk", SOAP: "Soap"}


def _visits() -> list[tuple[int, str, int, datetime]]:
    """(person, item, basket, moment): person 7 buys milk and bread every week, others soap alone or all of it."""
    rows = []
    for week in range(12):
        at = NOW - timedelta(days=7 * (12 - week), hours=-3)  # 03:00 UTC: the evening before in New York
        rows += [(7, item, 100 + week, at) for item in (MILK, BREAD, OTHER_MILK)]
        rows += [(8, SOAP, 200 + week, at + timedelta(hours=9))]
    return [*rows, (9, MILK, 300, NOW - timedelta(days=2))]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Marts]:
    """A lake and the marts that an audit reads."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    rows = [
        {"household_id": person, "product_id": int(item), "basket_id": basket, "transaction_timestamp": at}
        for person, item, basket, at in _visits()
    ]
    _write(settings.lake / "transactions" / "day=2017-11-30" / "part-0.parquet", pa.Table.from_pylist(rows))
    promotions = [{"product_id": int(MILK), "store_id": store} for store in (1, 2, 3)]
    promotions += [{"product_id": int(SOAP), "store_id": 4}]
    _write(settings.lake / "promotions" / "day=2017-11-27" / "part-0.parquet", pa.Table.from_pylist(promotions))
    folder = settings.marts / "2017-12-01-a"
    items = [
        {"item_id": item, "title": title, "category": "DAIRY" if "ilk" in title else "OTHER", "category_path": title}
        for item, title in TITLES.items()
    ]
    table = pa.Table.from_pylist(items).append_column("labels", pa.nulls(len(items), pa.list_(pa.string())))
    marts = {
        "items": table,
        "quarantined_events": pa.table({"source_row": pa.array(["none"])}),
        "users": pa.table({"user_id": ["p7", "p8", "p9"], "age_band": ["35-44", "35-44", None]}),
    }
    for name, each in marts.items():
        _write(folder / f"{name}.parquet", each)
    return settings, Marts(folder, {"as_of": "2017-12-01T00:00:00+00:00", "rows": dict.fromkeys(marts, 1)})


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


FACTS: dict[str, dict[str, Any]] = {
    "chosen_before": {"times": 12, "last_chosen": "2017-11-23", "usual_gap_days": 7, "gaps": 11},
    "similar_to_chosen": {
        "item_id": BREAD, "title": "Bread", "times": 12, "last_chosen": "2017-11-23", "together": 12,
        "among": "baskets", "lift": round(12 * 25 / (13 * 12), 2),
    },
    "favourite_category": {"category": "DAIRY", "count": 24, "of": 36, "itself": 12},
    "popular_now": {"rank": 1, "users_28d": 2, "until": "2017-11-30"},
    "on_promotion": {"reach": 0.75},
    "interest": {"rank": 1, "item_ids": [BREAD], "titles": ["Bread"]},
    "people_alike": {"rank": 1, "share": 0.5},
}  # fmt: skip


def audited(home: tuple[Settings, Marts], facts: list[dict[str, Any]], reason: str, **more: Any) -> Audit:
    item = {"item_id": MILK, "title": "Milk", "reason": reason, "evidence": facts}
    names = {"p7": "7", "p8": "8", "p9": "9"}
    return audit(*home, [AuditedList("7", NOW, [item])], NOW, NOW, "America/New_York", names, **more)


def verdict(home: tuple[Settings, Marts], kind: str, **changed: Any) -> str:
    fact = {"kind": kind, **deepcopy(FACTS[kind]), **changed}
    found = audited(home, [fact], "A sentence.")
    (example,) = found.examples or [{"verdict": "true"}]
    return str(example["verdict"])


@pytest.mark.parametrize("kind", sorted(FACTS))
def test_what_the_lake_holds_is_true(home: tuple[Settings, Marts], kind: str) -> None:
    assert verdict(home, kind) == "true"


@pytest.mark.parametrize(
    ("kind", "changed", "told"),
    [
        ("chosen_before", {"times": 11}, "false"),
        ("chosen_before", {"last_chosen": "2017-11-24"}, "false"),
        ("chosen_before", {"usual_gap_days": 9}, "false"),
        ("chosen_before", {"gaps": 2}, "misleading"),
        ("similar_to_chosen", {"lift": 2.5}, "false"),
        ("similar_to_chosen", {"together": 13}, "false"),
        ("similar_to_chosen", {"item_id": OTHER_MILK, "title": "milk"}, "misleading"),  # the item's own title
        ("favourite_category", {"count": 23}, "false"),
        ("favourite_category", {"of": 40}, "false"),
        ("favourite_category", {"category": "OTHER"}, "false"),
        ("popular_now", {"users_28d": 3}, "false"),
        ("popular_now", {"until": "2017-12-01"}, "false"),
        ("on_promotion", {"reach": 0.5}, "false"),
        ("interest", {"item_ids": [SOAP], "titles": ["Soap"]}, "false"),
    ],
)
def test_a_planted_fault_is_found(home: tuple[Settings, Marts], kind: str, changed: dict[str, Any], told: str) -> None:
    assert verdict(home, kind, **changed) == told


def test_a_sentence_from_before_a_live_purchase_is_false(home: tuple[Settings, Marts]) -> None:
    fact = {"kind": "chosen_before", **FACTS["chosen_before"]}
    bought = [Event("7", MILK, "live", NOW - timedelta(hours=1))]
    assert audited(home, [dict(fact)], "A sentence.").count("false") == 0
    found = audited(home, [dict(fact)], "A sentence.", since=bought)
    assert [example["why"] for example in found.examples] == ["another number of times"]


def test_a_stale_share_is_false(home: tuple[Settings, Marts]) -> None:
    fact = {"kind": "favourite_category", **FACTS["favourite_category"]}
    later = [Event("7", SOAP, f"live {hour}", NOW - timedelta(hours=hour)) for hour in range(1, 6)]
    found = audited(home, [fact], "A sentence.", since=later)
    assert found.count("false") == 1


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("You bought it 12 times, last on 23 November 2017.", "true"),
        ("You bought it 17 times, last on 23 November 2017.", "false"),
        ("You bought it 12 times, last on 19 November 2017.", "false"),
        ("", "false"),
    ],
)
def test_a_sentence_says_what_its_facts_hold(home: tuple[Settings, Marts], sentence: str, told: str) -> None:
    fact = {"kind": "chosen_before", "said": True, **FACTS["chosen_before"]}
    assert audited(home, [fact], sentence).verdicts["sentence", told] == 1


def test_a_phrase_that_a_list_repeats_is_misleading(home: tuple[Settings, Marts]) -> None:
    item = {"item_id": MILK, "title": "Milk", "reason": "Popular.", "evidence": []}
    lists = [AuditedList("7", NOW, [item] * 5)]
    found = audit(*home, lists, NOW, NOW, "UTC", {})
    assert (found.verdicts["sentence", "true"], found.verdicts["sentence", "misleading"]) == (3, 2)


def test_every_sentence_of_the_champion_is_true(slice_home: Slice) -> None:
    told = slice_home.zhiyin("audit", "--users", "40", check=False)
    found = json.loads((slice_home.settings.reports / "audit.json").read_text())["lists"]
    assert found["items"] == 400
    assert found["claims"] > 800
    assert (found["false"], told.returncode) == (0, 0), found["examples"]
    assert found["misleading"] < 0.01 * found["claims"]
