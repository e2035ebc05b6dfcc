"""One question of a protocol, and the models that answer it alone: our generators, and peers behind their interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from benchmarks.peers.bpr import Bpr
from training.log_states import read_items, read_users
from training.protocols import Protocol as EvaluationProtocol
from training.protocols import Split
from zhiyin.recommender.candidates import (
    Content,
    Context,
    Generator,
    Ials,
    Interest,
    ItemKnn,
    ItemToItem,
    KindDemand,
    PeopleAlike,
    PersonalFrequency,
    Popularity,
    Promotions,
    TextNeighbours,
)
from zhiyin.recommender.state.catalogue import Floats, ItemState, words_of
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users

Options = Mapping[str, Any]
Facts = Callable[[float], Mapping[str, Floats]]  # columns of items that a log does not tell, at a moment


class Scorer(Protocol):
    """A fitted model."""

    def score(self, users: Users, items: ItemState) -> Floats:
        """Float32 [users, items], higher is better, -inf for what it does not list."""


@dataclass(frozen=True)
class Experiment:
    """What a model is given: one question, and what is known besides the log."""

    protocol: EvaluationProtocol
    split: Split
    context: Context
    facts: Facts
    length: int = 2_000  # events that a user's sequence holds

    def users(self, split: Split, start: int, stop: int) -> Users:
        """States of some of the users that a question asks for."""
        rows = slice(start, stop)
        users = read_users(split.log, split.user[rows], split.at[rows], self.context.catalogue, self.length)
        if self.context.users is None:
            return users
        return replace(users, words=words_of(users.ids, self.context.users(split.log.cut)))

    def items(self, split: Split) -> ItemState:
        """The items' states at the end of a question's log."""
        at = float(split.log.cut if self.protocol.name == "next_days" else split.log.at.max())
        return read_items(split.log, at, split.candidates, self.facts(at))


PEERS: dict[str, type[Generator]] = {
    "popularity": Popularity,
    "personal_frequency": PersonalFrequency,
    "item_knn": ItemKnn,
    "ease": ItemToItem,
    "ials": Ials,
    "bpr": Bpr,
    "interest": Interest,
    "text_neighbours": TextNeighbours,
    "content": Content,
    "kind_demand": KindDemand,
    "people_alike": PeopleAlike,
    "promotions": Promotions,
}


def fit_peer(name: str, log: History, context: Context, options: Options) -> Scorer:
    """Fit one with settings that are not its defaults."""
    fit: Callable[..., Scorer] = PEERS[name].fit
    return fit(log, context, **options)
