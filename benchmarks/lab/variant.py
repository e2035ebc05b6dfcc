"""The whole recommender on a protocol: its generators, and a ranker that learned on earlier questions of the log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.lab.experiment import Experiment, Options, fit_peer
from benchmarks.peers.cross_network import NetworkRanker, fit_network
from training.evaluation.figures import Mask
from training.interest.train_encoder import LoopConfig, Start, train_encoder
from training.protocols import NextDays, Split
from training.ranking.fit_ranker import fit_ranker
from training.ranking.ranking_set import RankingSetBuilder
from zhiyin.recommender.candidates.base import Context, Generator
from zhiyin.recommender.candidates.space import Range, Space
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder
from zhiyin.recommender.features import Candidates, propose
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.settings import Settings, get_settings

USERS_AT_ONCE = 256
SPACE: Space = {  # of the ranker; its generators are tuned alone
    "ranker.trees": Range(100, 500, log=True),
    "ranker.num_leaves": Range(7, 63, log=True),
    "ranker.min_data_in_leaf": Range(20, 500, log=True),
    "ranker.learning_rate": Range(0.02, 0.2, log=True),
}
PRODUCTION = ("personal_frequency", "ease", "interest", "text_neighbours", "popularity", "people_alike")


@dataclass(frozen=True)
class Hybrid:
    """Generators propose, the ranker orders; what none proposed is not listed."""

    generators: list[Generator]
    ranker: Ranker | NetworkRanker | None  # None: as the first generator orders
    catalogue: Catalogue
    repeats: bool

    def score(self, users: Users, items: ItemState) -> Floats:
        if self.ranker is None:
            return self.generators[0].score(users, items)
        candidates = propose(self.generators, users, self.catalogue, items, self.repeats)
        scores = np.full((len(users), len(self.catalogue)), -np.inf, np.float32)
        scores[candidates.user, candidates.item] = self.ranker.score(candidates)
        return scores


def fit_hybrid(experiment: Experiment, options: Options) -> Hybrid:
    """Fit on ``experiment.split.log``.

    ``options``: ``generators`` (name: settings, with ``quota``, and ``model`` where the name is a second one's),
    ``questions`` (how many earlier ones the ranker learns from; 0: no ranker, the first generator orders), ``refit``
    (generators anew for each question, or once before the earliest), ``negatives`` (share of the candidates not taken
    that the ranker learns from), ``ranker`` (parameters of LightGBM, ``trees``) and ``network`` (those of a DCN-V2
    that ranks instead of the trees).
    """
    if isinstance(experiment.protocol, NextDays):
        experiment = replace(experiment, context=replace(experiment.context, fit_encoder=GoingOn()))
    chosen: dict[str, dict[str, Any]] = options.get("generators", {name: {} for name in PRODUCTION})
    if not options.get("questions", 1):
        generators = fit_generators(experiment.split.log, experiment, chosen)
        return Hybrid(generators, None, experiment.context.catalogue, experiment.split.repeats)
    splits = earlier_splits(experiment, options.get("questions", 1))
    lessons = RankingSetBuilder(options.get("negatives", 1.0), experiment.context.seed)
    teachers = None if options.get("refit", True) else fit_generators(splits[0].log, experiment, chosen)
    for number, split in enumerate(splits):
        models = teachers or fit_generators(split.log, experiment, chosen)
        for candidates, label in proposals(models, split, experiment):
            lessons.add(candidates, label)
        experiment.context.progress("ranking set", (number + 1) / len(splits), f"question {number + 1}")
    settings = Settings(seed=experiment.context.seed, threads=experiment.context.threads)  # type: ignore[call-arg]
    ranker: Ranker | NetworkRanker
    if "network" in options:
        ranker = fit_network(lessons.gathered(), settings.seed, experiment.context.progress, **options["network"])
    else:
        ranker = fit_ranker(lessons.gathered(), settings, experiment.context.progress, **options.get("ranker", {}))
    generators = fit_generators(experiment.split.log, experiment, chosen)
    return Hybrid(generators, ranker, experiment.context.catalogue, experiment.split.repeats)


class GoingOn:
    """Fits interest encoders of ever later logs, each going on from the one before."""

    def __init__(self) -> None:
        self._latest: Start | None = None

    def __call__(
        self, history: History, context: Context, config: EncoderConfig, learning: Mapping[str, Any]
    ) -> InterestEncoder:
        loop = replace(LoopConfig(minutes=get_settings().encoder_minutes), **learning)
        start = self._latest if self._latest and self._latest.encoder.config == config else None
        encoder = train_encoder(history, context, config, loop, start)
        self._latest = Start(encoder, np.arange(history.n_items), history.cut)
        return encoder


def earlier_splits(experiment: Experiment, count: int) -> list[Split]:
    """The ``count`` splits before an experiment's own, the earliest first: each log ends where its answer begins."""
    splits: list[Split] = []
    log = experiment.split.log
    for _ in range(count):
        splits.append(experiment.protocol.within.split(log, experiment.context.catalogue))
        log = splits[-1].log
    return splits[::-1]


def proposals(models: list[Generator], split: Split, experiment: Experiment) -> Iterator[tuple[Candidates, Mask]]:
    """A question's candidates, described, batch by batch in the order of its users; and whether each was taken."""
    items, n = experiment.items(split), len(experiment.context.catalogue)
    for start in range(0, len(split), USERS_AT_ONCE):
        users = experiment.users(split, start, start + USERS_AT_ONCE)
        candidates = propose(models, users, experiment.context.catalogue, items, split.repeats)
        true = (split.true_user - start) * n + split.true_item
        yield candidates, np.isin(candidates.user * n + candidates.item, true)


def fit_generators(log: History, experiment: Experiment, chosen: dict[str, dict[str, Any]]) -> list[Generator]:
    """The chosen generators (name: settings, as in ``fit_hybrid``), fitted on one log."""
    models = []
    for name, options in chosen.items():
        settings = {key: value for key, value in options.items() if key not in ("quota", "model")}
        model: Any = fit_peer(options.get("model", name), log, experiment.context, settings)
        model.name, model.quota = name, options.get("quota", model.quota)
        models.append(model)
    return models
