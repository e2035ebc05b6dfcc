"""The slate: each rule does what its file says, and a file that is wrong says where."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.model.checkerboard import NOW, World, catalogue, item_rows, text
from zhiyin.recommender.candidates import Popularity
from zhiyin.recommender.features import Candidates, Scored, propose
from zhiyin.recommender.slate.item_rules import ItemRules
from zhiyin.recommender.slate.pick import Picked, pick
from zhiyin.recommender.slate.rules import SlateRules, read_rules
from zhiyin.recommender.state.catalogue import Catalogue, ItemState

ITEMS = 12
ALL = Catalogue(catalogue().table.set_column(2, "brand", pa.array([f"B{item // 4}" for item in range(ITEMS)])))
TEXT = text()
ONE = "[[rule]]\nname = 'a'\n"
PIN = ONE + "action = 'pin'\nitems = ['1']\nposition = 3\n"


def candidates(users: int = 2, **columns: list[float]) -> Candidates:
    """Every item for every user; further columns are given per item."""
    rows, item = np.repeat(np.arange(users), ITEMS), np.tile(np.arange(ITEMS), users)
    given = {name: np.tile(np.asarray(values, np.float32), users) for name, values in columns.items()}
    return Candidates(rows, item, given)


def scores(users: int = 2) -> np.ndarray:
    """The first item is the best of the first user, the last one of the second; each has its own scale."""
    return np.concatenate([-np.arange(ITEMS), 100.0 * np.arange(ITEMS)][:users])


def lists(rules: SlateRules, k: int = 5, vectors: np.ndarray = TEXT, **columns: list[float]) -> list[list[int]]:
    picked = pick(candidates(**columns), scores(), ALL, vectors, ItemRules.of(rules, ALL), k)
    assert_ranks(picked)
    user, item = candidates().user[picked.position], candidates().item[picked.position]
    return [item[user == row].tolist() for row in range(2)]


def assert_ranks(picked: Picked) -> None:
    user = candidates().user[picked.position]
    for row in np.unique(user):
        assert picked.rank[user == row].tolist() == list(range(1, 1 + (user == row).sum()))


def rules(*rule: dict[str, Any], **limits: float) -> SlateRules:
    return SlateRules.model_validate(
        {
            "category_share": 1.0,
            "label_share": 1.0,
            **limits,
            "rule": [{"name": f"r{n}", **one} for n, one in enumerate(rule)],
        }
    )


def test_without_rules_the_best_come_first() -> None:
    assert lists(rules()) == [[0, 1, 2, 3, 4], [11, 10, 9, 8, 7]]


def test_a_label_stands_on_no_more_than_its_share_while_others_are_left() -> None:
    """Items 0, 3, 6 and 9 have no label; all others are snacks, and sweetish or saltyish."""
    assert lists(rules(label_share=0.5), k=6)[0] == [0, 1, 2, 3, 4, 6]
    assert lists(rules(label_share=0.2), k=8)[0] == [0, 1, 2, 3, 6, 9, 4, 5]  # nothing else is left


def test_rules_choose_items_by_label() -> None:
    assert lists(rules({"action": "exclude", "labels": ["snack"]}))[0] == [0, 3, 6, 9]
    assert lists(rules({"action": "exclude", "labels": ["sweetish"], "items": ["i002", "i003"]}))[0] == [0, 1, 3, 4, 5]
    assert ItemRules.of(rules({"action": "bury", "labels": ["snack", "soup"]}), ALL).unknown == {"r0": ["soup"]}


def test_a_tenth_of_the_places_is_a_new_item_s_that_its_content_speaks_for() -> None:
    def listed(every: int, new: dict[int, float], k: int = 6, **more: float) -> list[int]:
        worth = np.tile([new.get(item, -np.inf) for item in range(ITEMS)], 2)
        over = ItemRules.of(rules(new_every=every, **more), ALL)
        picked = pick(candidates(), scores(), ALL, TEXT, over, k, worth)
        assert_ranks(picked)
        first = candidates().user[picked.position] == 0
        return candidates().item[picked.position][first].tolist()

    assert listed(3, {9: -2.0, 11: -1.0}) == [0, 1, 11, 2, 3, 9]  # the better one first
    assert listed(3, {1: -5.0, 11: -1.0}) == [0, 1, 2, 3, 4, 11]  # one came by its score
    assert listed(3, {}) == listed(0, {11: -1.0}) == listed(10, {11: -1.0}) == [0, 1, 2, 3, 4, 5]
    assert listed(3, {10: -2.0}, category_share=0.17) == [0, 1, 10, 3, 2, 4]


def test_a_category_or_brand_fills_no_more_than_its_share_while_others_are_left() -> None:
    assert lists(rules(brand_share=0.4), k=5)[0] == [0, 1, 4, 5, 8]
    one_salty = SlateRules.model_validate({"category_share": 0.2})
    for items in lists(one_salty, k=4):
        assert max(Counter(item % 2 for item in items[:2]).values()) == 1  # then only crowded categories are left
    both = lists(rules(category_share=0.5, brand_share=0.5), k=6)[0]
    assert max(Counter(item // 4 for item in both).values()) <= 3
    assert max(Counter(item % 2 for item in both).values()) <= 3
    assert len(lists(rules(brand_share=0.1), k=12)[0]) == 12


def test_a_pin_stands_at_its_place_in_every_list() -> None:
    pinned = rules({"action": "pin", "items": ["i007"], "position": 2})
    assert lists(pinned) == [[0, 7, 1, 2, 3], [11, 7, 10, 9, 8]]
    best_of_kind = rules({"action": "pin", "categories": ["salty"], "position": 1})
    assert [items[0] for items in lists(best_of_kind)] == [1, 11]
    assert lists(rules({"action": "pin", "items": ["i007"], "position": 6})) == lists(rules())


def test_boost_lifts_by_places_and_bury_puts_last() -> None:
    assert lists(rules({"action": "boost", "items": ["i004"], "places": 3})) == [[0, 4, 1, 2, 3], [11, 10, 9, 8, 4]]
    assert lists(rules({"action": "bury", "brands": ["B0"]}), k=12)[0] == [4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3]
    only_sweet_of_a_brand = rules({"action": "bury", "brands": ["B0"], "categories": ["sweet"]})
    assert lists(only_sweet_of_a_brand)[0] == [1, 3, 4, 5, 6]


def test_what_is_excluded_is_never_listed_not_even_pinned() -> None:
    both = rules({"action": "exclude", "categories": ["sweet"]}, {"action": "pin", "items": ["i002"], "position": 1})
    assert lists(both, k=12) == [[1, 3, 5, 7, 9, 11], [11, 9, 7, 5, 3, 1]]


def test_an_item_rests_after_a_purchase_for_its_share_of_the_usual_interval() -> None:
    nan = float("nan")
    days = [3.0, 6.0, 3.0, nan] + [100.0] * 8
    own = [10.0, 10.0, nan, nan] + [10.0] * 8
    everyones = [1.0, 1.0, 20.0, 1.0] + [1.0] * 8
    found = lists(rules(cooldown=0.5), k=4, days_since_last=days, mean_gap_days=own, item_gap_days=everyones)
    assert found[0] == [1, 3, 4, 5]


def test_diversity_takes_the_unlike_before_the_nearly_as_good() -> None:
    alike = np.zeros((ITEMS, 3), np.float32)
    alike[:6, 0] = alike[6:9, 1] = alike[9:, 2] = 1.0
    for items in lists(rules(diversity=0.6), k=3, vectors=alike):
        assert len({int(alike[item].argmax()) for item in items}) == 3
    assert lists(rules(diversity=0.01), vectors=alike) == lists(rules())


def test_every_rule_says_what_it_moved() -> None:
    given = rules(
        {"action": "pin", "items": ["i007"], "position": 2}, {"action": "boost", "brands": ["B1"], "places": 4}
    )
    over = ItemRules.of(given, ALL)
    picked = pick(candidates(1), scores(1), ALL, TEXT, over, 4)
    facts = [
        list(over.facts(int(candidates(1).item[at]), int(pin), int(place)))
        for at, pin, place in zip(picked.position, picked.pin, picked.by_score, strict=True)
    ]
    moved = [[(fact["rule"], fact["action"], fact["rank_by_score"]) for fact in of_item] for of_item in facts]
    assert moved == [[("r1", "boost", 5)], [("r0", "pin", 8)], [], [("r1", "boost", 6)]]


def test_an_unavailable_item_is_never_a_candidate_and_a_pinned_one_always(world: World) -> None:
    states = item_rows(world.events)
    available = [item != 3 for item in range(ITEMS)]
    items = ItemState.of(states.append_column("available", pa.array(available)), world.catalogue, NOW)
    popularity = Popularity.fit(world.history, world.context)
    popularity.quota = 2
    found = propose(
        Scored.by([popularity], world.users, items), world.users, world.catalogue, items, always=np.array([3, 5])
    )
    for user in range(len(world.users)):
        of_user = set(found.item[found.user == user].tolist())
        assert 3 not in of_user
        assert 5 in of_user


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("category_share = 2", "category_share: "),
        ("brand_shar = 0.5", "brand_shar: no such field; there are category_share, label_share"),
        (ONE + "action = 'pin'\nitems = ['1']", "rule 1 (a): a pin needs position"),
        (ONE + "action = 'bury'\nitems = ['1']\nplaces = 2", "rule 1 (a): places means nothing to bury"),
        (ONE + "action = 'exclude'", "rule 1 (a): names nothing; give items"),
        ("[[rule]]\naction = 'hide'\nitems = ['1']", "rule 1: name: Field required; rule 1: action: "),
        (ONE + "action = 'exclude'\nitem = ['1']", "rule 1 (a): item: no such field; there are name"),
        (ONE + "action = 'exclude'\nitems = [1]", "rule 1 (a): items: Input should be a valid string, got 1"),
        ((ONE + "action = 'exclude'\nitems = ['1']\n") * 2, "two rules are called 'a'"),
        (PIN + PIN.replace("'a'", "'b'"), "'a' and 'b' both pin place 3"),
        ("category_share: 1", "not valid TOML"),
    ],
)
def test_a_wrong_file_says_which_rule_and_field(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"rules\.toml: ") as refused:
        read_rules(path)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.toml: cannot be read .*ZHIYIN_RULES"):
        read_rules(tmp_path / "absent.toml")
    assert ItemRules.of(rules({"action": "bury", "items": ["i001", "gone"]}), ALL).unknown == {"r0": ["gone"]}


def test_nobody_gets_nothing_and_a_list_may_be_short() -> None:
    nobody = Candidates(np.empty(0, np.int64), np.empty(0, np.int64), {})
    assert not len(pick(nobody, np.empty(0), ALL, TEXT, ItemRules.of(rules(diversity=0.5), ALL), 5).rank)
    one_left = rules({"action": "exclude", "items": [f"i{item:03d}" for item in range(1, ITEMS)]}, diversity=0.5)
    assert lists(one_left) == [[0], [0]]


def test_of_items_that_are_called_the_same_a_list_holds_one() -> None:
    table = catalogue().table
    titles = pa.array([f"Thing {item // 2}" if item < 6 else f"THING {item // 2} " for item in range(ITEMS)])
    named = Catalogue(table.set_column(table.column_names.index("title"), "title", titles))
    picked = pick(candidates(1), scores(1), named, TEXT, ItemRules.of(rules(), named), 10)
    assert candidates(1).item[picked.position].tolist() == [0, 2, 4, 6, 8, 10]
    pinned = rules({"action": "pin", "items": ["i003"], "position": 3})
    picked = pick(candidates(1), scores(1), named, TEXT, ItemRules.of(pinned, named), 4)
    assert candidates(1).item[picked.position].tolist() == [0, 4, 3, 6]


@pytest.mark.parametrize(("share", "k", "held"), [(0.2, 10, 2), (0.2, 4, 0), (0.5, 4, 2), (0.0, 10, 0)])
def test_the_last_places_are_for_what_is_new_to_the_user_where_too_few_came_by_their_score(
    share: float, k: int, held: int
) -> None:
    known = np.arange(ITEMS) < 10
    worth = np.where(known, -np.inf, np.arange(ITEMS))
    over = ItemRules.of(rules(), ALL)
    picked = pick(candidates(1), scores(1), ALL, TEXT, over, k, None, None, worth, share)
    listed = candidates(1).item[picked.position].tolist()
    assert sum(item >= 10 for item in listed) == held
    assert listed == [*range(k - held), *[11, 10][:held]]


def test_what_comes_by_its_score_counts_as_a_discovery() -> None:
    worth = np.where(np.isin(np.arange(ITEMS), [0, 2, 11]), 1.0, -np.inf)
    picked = pick(candidates(1), scores(1), ALL, TEXT, ItemRules.of(rules(), ALL), 10, None, None, worth, 0.2)
    assert candidates(1).item[picked.position].tolist() == list(range(10))


def test_some_items_are_for_those_alone_who_took_one_before(world: World) -> None:
    """Even users took even items alone, so that even items are kept back from odd users."""
    rule = {"action": "takers_only", "categories": ["sweet"]}
    over = ItemRules.of(rules(rule), world.catalogue)
    user, item = np.divmod(np.arange(24 * ITEMS), ITEMS)
    kept_back = over.kept_back(world.users, user, item)
    assert kept_back.tolist() == ((user % 2 == 1) & (item % 2 == 0)).tolist()
    some = Candidates(user, item, {})
    picked = pick(some, np.zeros(len(some)), world.catalogue, TEXT, over, 5, None, kept_back)
    assert not kept_back[picked.position].any()
    assert len(picked.position) == 24 * 5
