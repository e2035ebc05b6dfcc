"""An experiment: one split of a protocol, what is known besides the log, and the models that are fitted on it alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from benchmarks.peers.bpr import Bpr
from benchmarks.peers.lstm import Lstm
from benchmarks.peers.tifu_knn import TifuKnn
from training.protocols import Protocol as EvaluationProtocol
from training.protocols import Split
from training.splits import States, TrainingSplit, training_splits
from zhiyin.recommender.candidates import KINDS, Context, Generator
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

Options = Mapping[str, Any]


class Scorer(Protocol):
    """A fitted model."""

    def score(self, users: Users, items: ItemState) -> Floats:
        """Float32 [users, pool] of the eligible items, higher is better, -inf for what it does not list."""


@dataclass(frozen=True)
class Experiment:
    """What a model is given: one split, and what is known besides its log.

    ``recipe``: of the dataset, by which our own recommender is made.
    """

    protocol: EvaluationProtocol
    split: Split
    context: Context
    states: States
    recipe: Recipe
    label_days: int = 14

    def users(self, start: int, stop: int) -> Users:
        """States of some of the users that the split asks for."""
        return self.states.users(self.split, start, min(stop, len(self.split)))

    def items(self) -> ItemState:
        """The items' states at the end of the split's log; the candidates of the protocol are eligible."""
        log, by_days = self.split.log, self.protocol.name == "next_days"
        state = self.states.items(log, float(log.cut if by_days else log.at.max()), 0)
        return replace(state, eligible=self.split.candidates)

    def training_splits(self) -> list[TrainingSplit]:
        """The splits of the log on which a ranker learns, the earliest first."""
        return list(training_splits(self.recipe, self.split.log, self.states, self.context.catalogue, self.label_days))


MODELS: dict[str, type[Generator]] = {
    "popularity": KINDS["popularity"],
    "personal_frequency": KINDS["personal_frequency"],
    "tifu_knn": TifuKnn,
    "item_knn": KINDS["item_knn"],
    "item_to_item": KINDS["item_to_item"],
    "ials": KINDS["ials"],
    "bpr": Bpr,
    "lstm": Lstm,
    "interest": KINDS["interest"],
    "text_neighbours": KINDS["text_neighbours"],
    "content": KINDS["content"],
    "kind_demand": KINDS["kind_demand"],
    "people_alike": KINDS["people_alike"],
    "promotions": KINDS["promotions"],
}


def fit_alone(name: str, log: History, context: Context, options: Options) -> Scorer:
    """Fit one generator or peer with settings that are not its defaults."""
    fit: Callable[..., Scorer] = MODELS[name].fit
    return fit(log, context, **{key: value for key, value in options.items() if key not in ("quota", "kind")})
