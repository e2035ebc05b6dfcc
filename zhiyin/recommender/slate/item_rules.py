"""Slate rules over one catalogue: which rule holds for which item, as arrays."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zhiyin.recommender.slate.rules import Rule, SlateRules
from zhiyin.recommender.state.catalogue import Catalogue, Integers
from zhiyin.recommender.state.users import Users

Mask = npt.NDArray[np.bool_]
# Field of a rule -> column of the catalogue.
SELECTORS = {
    "items": "item_id",
    "departments": "department",
    "categories": "category",
    "labels": "labels",
    "brands": "brand",
}


@dataclass(frozen=True)
class ItemRules:
    """``holds``: bool [rules, items]; ``unknown``: by rule, the names that the catalogue lacks."""

    rules: SlateRules
    holds: Mask
    unknown: dict[str, list[str]]

    @classmethod
    def of(cls, rules: SlateRules, catalogue: Catalogue) -> "ItemRules":
        holds = np.ones((len(rules.rule), len(catalogue)), bool)
        unknown: dict[str, list[str]] = {}
        for row, rule in enumerate(rules.rule):
            for field, column in SELECTORS.items():
                if (names := getattr(rule, field)) is not None:
                    values, owner = catalogue.table[column].combine_chunks(), np.arange(len(catalogue))
                    if pa.types.is_list(values.type):
                        owner, values = pc.list_parent_indices(values).to_numpy(), values.flatten()
                    values = values.cast(pa.string())
                    named = np.asarray(pc.is_in(values, value_set=pa.array(names, pa.string())))
                    holds[row] &= np.bincount(owner[named], minlength=len(catalogue)) > 0
                    absent = pc.invert(pc.is_in(pa.array(names, pa.string()), value_set=values))
                    if lost := pa.array(names, pa.string()).filter(absent).to_pylist():
                        unknown.setdefault(rule.name, []).extend(lost)
        return cls(rules, holds, unknown)

    def _any(self, action: str) -> Mask:
        rows = [row for row, rule in enumerate(self.rules.rule) if rule.action == action]
        return np.asarray(self.holds[rows].any(axis=0))

    @cached_property
    def excluded(self) -> Mask:
        return self._any("exclude")

    @cached_property
    def buried(self) -> Mask:
        return self._any("bury")

    def kept_back(self, users: Users, user: Integers, item: Integers) -> Mask:
        """Which pairs a rule keeps back, since its items are for those alone who took one of them before."""
        kept = np.zeros(len(user), bool)
        for row, rule in enumerate(self.rules.rule):
            if rule.action == "takers_only":
                takers = np.bincount(users.repeats.user[self.holds[row, users.repeats.item]], minlength=len(users)) > 0
                kept |= self.holds[row, item] & ~takers[user]
        return kept

    @cached_property
    def lift(self) -> Integers:
        """Places up [items]; boosts of several rules add up."""
        places = np.array([rule.places or 0 for rule in self.rules.rule], np.int64)
        return np.asarray(places @ self.holds)

    @cached_property
    def pins(self) -> list[tuple[int, Rule]]:
        """Row and rule of every pin, by position."""
        pins = [(row, rule) for row, rule in enumerate(self.rules.rule) if rule.action == "pin"]
        return sorted(pins, key=lambda pin: pin[1].position or 0)

    @cached_property
    def always(self) -> Integers:
        """Items that a pin names by id: candidates of every user, whether or not a generator proposes them."""
        rows = [row for row, rule in self.pins if rule.items is not None]
        return np.flatnonzero(self.holds[rows].any(axis=0) & ~self.excluded)

    def facts(self, item: int, pin: int, by_score: int) -> Iterable[dict[str, Any]]:
        """Evidence of the rules on an item: ``pin`` is the row of its pin or -1, ``by_score`` its rank without."""
        for row, rule in enumerate(self.rules.rule):
            if row == pin or (rule.action in ("boost", "bury") and pin < 0 and self.holds[row, item]):
                yield {"kind": "rule", "rule": rule.name, "action": rule.action, "rank_by_score": by_score}
