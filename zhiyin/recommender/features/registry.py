"""The name, family, label and unit of every feature that ``propose`` emits.

Explanations, the API, the page and the ablation take families and labels from here and hold no patterns of their own.
A feature that ``compute`` adds needs an entry below. A column of a mart needs none (law 3): it arrives as ``user_…`` or
``item_…``, belongs to that family, and its label and unit are read from its name (``mean_price_28d``, ``gap_days``).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Unit = Literal["count", "days", "money", "rank", "ratio", "score", "share"]


@dataclass(frozen=True)
class Family:
    """Features that mean the same kind of thing.

    ``evidence``: the kind of fact in an explanation that they support, None where no fact does. ``generator``: they are
    the score and the rank that one candidate generator gives.
    """

    name: str
    label: str
    evidence: str | None = None
    generator: bool = False


@dataclass(frozen=True)
class Feature:
    """One feature. ``unit``: None where the name does not tell it."""

    name: str
    family: str
    label: str
    unit: Unit | None


OTHER = "other"
_FAMILIES = (
    Family("item_habit", "Habit with this item", "chosen_before"),
    Family("item_rhythm", "Rhythm with this item", "chosen_before"),
    Family("kind_habit", "Habit with its kind", "same_kind"),
    Family("kind_rhythm", "Rhythm with its kind", "same_kind"),
    Family("category_habit", "Habit with its category", "favourite_category"),
    Family("category_rhythm", "Rhythm with its category", "favourite_category"),
    Family("label_habit", "Habit with its labels", "favourite_label"),
    Family("item_demand", "Demand by everyone", "popular_now"),
    Family("item_promotion", "Promotion", "on_promotion"),
    Family("item_state", "About the item"),
    Family("user_state", "About the user"),
    Family("price", "Price for this user"),
    # A generator's family has the generator's name.
    Family("personal_frequency", "How often and how lately chosen", "chosen_before", generator=True),
    Family("item_to_item", "Goes with what was chosen", "similar_to_chosen", generator=True),
    Family("interest", "Latest taste", "interest", generator=True),
    Family("text_neighbours", "Similar description", generator=True),
    Family("popularity", "Popular now", "popular_now", generator=True),
    Family("people_alike", "People alike", "people_alike", generator=True),
    Family("content", "Similar content", generator=True),
    Family("item_knn", "Chosen together", "similar_to_chosen", generator=True),
    Family("ials", "Latent factors", generator=True),
    Family("kind_demand", "Kinds that fall due", "same_kind", generator=True),
    Family("promotions", "Promoted kinds that fall due", "on_promotion", generator=True),
    Family("session", "Goes with the session", generator=True),
    Family("generators", "Other candidate generators", generator=True),
    Family(OTHER, "Other"),
)
FAMILIES = {family.name: family for family in _FAMILIES}
EVIDENCE_KINDS = tuple(dict.fromkeys(family.evidence for family in _FAMILIES if family.evidence))

# Of the user and this item.
_ENTRIES = (
    Feature("baskets", "item_habit", "Baskets with the item", "count"),
    Feature("quantity_a_basket", "item_habit", "Pieces per basket with the item", "count"),
    Feature("days_since_last", "item_habit", "Days since the latest basket with the item", "days"),
    Feature("days_since_first", "item_habit", "Days since the first basket with the item", "days"),
    Feature("mean_gap_days", "item_habit", "Mean days between baskets with the item", "days"),
    Feature("due", "item_habit", "Days since the latest basket over the mean gap", "ratio"),
    Feature("due_for_all", "item_habit", "Days since the latest basket over the mean gap of all users", "ratio"),
    Feature("baskets_a_day", "item_habit", "Baskets with the item per day since the first", "ratio"),
    Feature("long", "item_habit", "Baskets with the item, decayed slowly", "count"),
    Feature("short", "item_habit", "Baskets with the item, decayed fast", "count"),
    Feature("long_short_trend", "item_habit", "Fast over slow decayed baskets", "ratio"),
    Feature("long_of_best", "item_habit", "Slowly decayed baskets over those of the user's top item", "ratio"),
    Feature("short_of_best", "item_habit", "Fast decayed baskets over those of the user's top item", "ratio"),
    Feature("category_affinity", "category_habit", "Share of the category in the user's events", "share"),
    Feature("label_affinity", "label_habit", "Share of its most usual label in the user's events", "share"),
    Feature("label_mean_affinity", "label_habit", "Mean share of its labels in the user's events", "share"),
    Feature("price_to_usual", "price", "Price over what the user usually pays", "ratio"),
    Feature("item_promoted", "item_promotion", "Item: reach of its promotion", "share"),
    Feature("item_trend_week", "item_demand", "Item: events a week, last 7 over last 28 days", "ratio"),
    Feature("item_trend_month", "item_demand", "Item: events a month, last 28 over last 90 days", "ratio"),
)

# Of the user and the item's kind or category (``habit``), or of the latest baskets (``rhythm``, also of the item).
_HABIT: dict[str, tuple[str, Unit]] = {
    "long": ("Baskets with the {level}, decayed slowly", "count"),
    "short": ("Baskets with the {level}, decayed fast", "count"),
    "items": ("Different items of the {level}", "count"),
    "days_since_last": ("Days since the latest basket with the {level}", "days"),
    "best_long": ("Slowly decayed baskets of the top item of the {level}", "count"),
}
_RHYTHM: dict[str, tuple[str, Unit]] = {
    "recent_baskets": ("Latest baskets with the {level}", "count"),
    "recent_share": ("Share of the latest baskets with the {level}", "share"),
    "baskets_since": ("Baskets since the latest with the {level}", "count"),
    "recent_gap_days": ("Mean days between latest baskets with the {level}", "days"),
    "recent_gap_spread": ("Spread of the days between latest baskets with the {level}", "days"),
    "recent_due": ("Days since the latest basket with the {level} over its mean gap", "ratio"),
    "last_gap_days": ("Days between the two latest baskets with the {level}", "days"),
}


def _entries() -> Iterable[Feature]:
    yield from _ENTRIES
    for level in ("item", "kind", "category"):
        for name, (label, unit) in _RHYTHM.items():
            yield Feature(f"{level}_{name}", f"{level}_rhythm", label.format(level=level), unit)
    for level in ("kind", "category"):
        for name, (label, unit) in _HABIT.items():
            yield Feature(f"{level}_{name}", f"{level}_habit", label.format(level=level), unit)
    for family in _FAMILIES:
        if family.generator and family.name != "generators":
            yield Feature(f"{family.name}_score", family.name, f"{family.label}: score", "score")
            yield Feature(f"{family.name}_rank", family.name, f"{family.label}: rank", "rank")


ENTRIES = {feature.name: feature for feature in _entries()}
DEMAND = re.compile(r"item_(events|users)(_\d+d)?")
WINDOW = re.compile(r"(.+)_(\d+)d")


def describe_feature(name: str) -> Feature:
    """The entry of a feature; of the family ``other`` where no entry and no prefix knows it."""
    if name in ENTRIES:
        return ENTRIES[name]
    for owner in ("item", "user"):
        if name.startswith(f"{owner}_"):
            label, unit = _read_column(name.removeprefix(f"{owner}_"))
            family = "item_demand" if DEMAND.fullmatch(name) else f"{owner}_state"
            return Feature(name, family, f"{owner.capitalize()}: {label}", unit)
    for part in ("score", "rank"):  # of a generator that a recipe gave a name of its own
        if name.endswith(f"_{part}"):
            label = name.removesuffix(f"_{part}").replace("_", " ").capitalize()
            return Feature(name, "generators", f"{label}: {part}", "score" if part == "score" else "rank")
    return Feature(name, OTHER, name.replace("_", " ").capitalize(), None)


def group_by_family(names: Iterable[str]) -> dict[str, list[str]]:
    """The features of each family that has some, in the families' order."""
    groups: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for name in names:
        groups[describe_feature(name).family].append(name)
    return {family: members for family, members in groups.items() if members}


def group_by_evidence(names: Iterable[str]) -> dict[str, list[str]]:
    """The features that support each kind of fact; a kind without any is there, too."""
    groups: dict[str, list[str]] = {kind: [] for kind in EVIDENCE_KINDS}
    for family, members in group_by_family(names).items():
        if kind := FAMILIES[family].evidence:
            groups[kind] += members
    return groups


def _read_column(column: str) -> tuple[str, Unit | None]:
    """Label and unit of a mart's column, from its name."""
    window = ""
    if match := WINDOW.fullmatch(column):
        column, window = match[1], f", last {match[2]} days"
    if column.endswith("_at"):
        return f"days since {column.removesuffix('_at').replace('_', ' ')}", "days"
    label = re.sub("_days$", "_in_days", column).replace("_", " ")
    return label + window, _unit(column.split("_"))


def _unit(words: list[str]) -> Unit | None:
    last = words[-1]
    if last == "days":
        return "days"
    if last in ("share", "rate") or "share" in words:
        return "share"
    if last in ("ratio", "trend"):
        return "ratio"
    if last in ("price", "amount", "discount"):
        return "money"
    return "count" if last in ("count", "size") or last.endswith("s") else None
