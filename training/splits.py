"""Where training takes its splits from: label windows of days, or events left out; one code for every kind of log.

The recipe's protocol says which. The ranker learns on ``training_splits`` of a log, each with generators fitted on what
is before it; ``holdout`` is what a bundle is then evaluated on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from training.protocols import LeaveOneOut, Split, window
from zhiyin.clock import Clock, fourth_monday
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

LEAST_SHARE = 0.25  # of the log's events before a label window: generators of fewer propose other things


class States(Protocol):
    """What is known of users and items at the moment of a split."""

    def users(self, split: Split, start: int, stop: int) -> Users:
        """Some of the users of a split, in its order."""

    def items(self, log: History, moment: float, least: int) -> ItemState:
        """The items at a moment (epoch seconds), those that may be listed eligible; ``log`` ends there."""


@dataclass(frozen=True)
class TrainingSplit:
    """A split that is made when it is needed.

    ``name``: what it is called in reports. ``cut``: where its label window starts; ``generators_cut``: generators
    fitted on the log before this moment propose for it (`fourth_monday`). Without them, those of the split's log do.
    """

    name: str
    make: Callable[[], Split]
    cut: datetime | None = None
    generators_cut: datetime | None = None


def training_splits(
    recipe: Recipe, log: History, states: States, catalogue: Catalogue, label_days: int
) -> Sequence[TrainingSplit]:
    """The splits of a log on which a ranker learns, the earliest first; none holds an event at or after its end."""
    if recipe.protocol == "leave_one_out":
        splits = _left_out(log, catalogue, recipe)
        return [
            TrainingSplit(f"event {len(splits) - place} from the end", lambda split=split: split)  # type: ignore[misc]
            for place, split in enumerate(splits)
        ]
    end = datetime.fromtimestamp(log.cut, UTC)
    cuts = Clock(end, label_days, recipe.windows).label_cuts(end)

    def enough(cut: datetime) -> bool:
        return bool((log.at < cut.timestamp()).mean() >= LEAST_SHARE)

    def make(cut: datetime) -> Split:
        before = log.before(cut)
        items = states.items(before, cut.timestamp(), recipe.least)
        return window(log, before, cut, label_days, items.eligible, recipe.repeats, everyone=True)

    def split_from(cut: datetime) -> TrainingSplit:
        before = fourth_monday(cut)
        return TrainingSplit(f"{cut:%Y-%m-%d}", partial(make, cut), cut, before if enough(before) else cut)

    return [split_from(cut) for cut in [cut for cut in cuts if enough(cut)] or cuts[-1:]]


def holdout(
    recipe: Recipe, log: History, states: States, catalogue: Catalogue, clock: Clock
) -> tuple[Split, ItemState]:
    """What a run's bundle is evaluated on, and the items' state at that moment.

    The label days before ``clock.as_of``, with the users who then took nothing; or the last event of every user.
    ``log`` ends at ``as_of``.
    """
    if recipe.protocol == "leave_one_out":
        split = LeaveOneOut(recipe.repeats).split(log, catalogue)
        return split, states.items(split.log, float(split.log.at.max()), recipe.least)
    before = log.before(clock.evaluation_cut)
    items = states.items(before, before.cut, recipe.least)
    days = clock.label_days
    return window(log, before, clock.evaluation_cut, days, items.eligible, recipe.repeats, everyone=True), items


def _left_out(log: History, catalogue: Catalogue, recipe: Recipe) -> list[Split]:
    splits: list[Split] = []
    protocol = LeaveOneOut(recipe.repeats)
    for _ in range(recipe.windows):
        splits.append(protocol.split(splits[-1].log if splits else log, catalogue))
    return splits[::-1]
