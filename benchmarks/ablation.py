"""What each part of the product is worth: without a generator, without a family of features, without any text.

    python -m benchmarks.ablation --dataset movielens_100k --protocol leave_one_out [--seeds 3] [--no-text]
    python -m benchmarks.ablation --protocol next_days --cut 2017-12-01

On the validation split of the published marts (`zhiyin benchmark --validation`), with the dataset's recipe. The
generators are fitted once and the ranker once per row. A row without a generator has neither its score and rank nor
the candidates that it alone proposed. A row without a family of features (zhiyin/recommender/features/registry.py)
lacks these columns. Without text, the generators that read it are left out and the others are fitted without it.
NDCG@10 with its 95 % bootstrap interval, and the paired difference between all parts and the row.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks import finish, say
from benchmarks.lab.experiment import Experiment
from benchmarks.lab.leaderboard import make_experiment
from benchmarks.lab.options import DAYS, LEAST, PROTOCOLS, choose_protocol
from benchmarks.lab.product import WarmStart
from benchmarks.lab.scoring import USERS_AT_ONCE
from training.evaluation.figures import K, Mask, means, paired
from training.evaluation.metrics import Values, list_metrics
from training.protocols import Split
from training.ranking.fit_ranker import fit_ranker
from training.ranking.ranking_set import RankingSet
from training.train import fit_generators, proposing
from zhiyin.recommender.candidates.base import Generator, silent
from zhiyin.recommender.features import Scored, propose
from zhiyin.recommender.features.registry import FAMILIES, group_by_family
from zhiyin.recommender.ranker import matrix
from zhiyin.recommender.state.catalogue import Floats, Integers
from zhiyin.settings import get_settings
from zhiyin.warehouse import current

ALL_PARTS = "zhiyin (all parts)"
READS_TEXT = ("text_neighbours", "content")


@dataclass(frozen=True)
class Table:
    """Candidates of one or more splits: ``query`` numbers the lists, ascending; ``taken``: whether it was right."""

    names: list[str]
    features: Floats
    query: Integers
    item: Integers
    taken: Mask

    def without(self, columns: Callable[[str], bool], generator: str | None = None) -> "Table":
        """Fewer columns; and where a generator is named, without what it alone proposed."""
        kept = np.array([place for place, name in enumerate(self.names) if not columns(name)])
        rows: Mask = np.ones(len(self.query), bool)
        if generator is not None:
            others = [at for at, name in enumerate(self.names) if name.endswith("_rank") and not columns(name)]
            rows = np.asarray(np.isfinite(self.features[:, others]).any(axis=1))
        names = [self.names[place] for place in kept]
        return Table(names, self.features[rows][:, kept], self.query[rows], self.item[rows], self.taken[rows])


def gather(parts: Sequence[tuple[Sequence[Generator], Split]], experiment: Experiment) -> Table:
    """Described candidates of each split, by the generators that go with it."""
    blocks: list[tuple[Floats, Integers, Integers, Mask]] = []
    names: list[str] = []
    first = 0
    for generators, split in parts:
        own = replace(experiment, split=split)
        items = own.items()
        for start in range(0, len(split), USERS_AT_ONCE):
            users = own.users(start, start + USERS_AT_ONCE)
            scored = Scored.by(generators, users, items)
            candidates = propose(scored, users, own.context.catalogue, items, new_only=not split.repeats)
            names = names or sorted(candidates.columns)
            taken = split.holds(candidates.user + start, candidates.item)
            blocks.append((matrix(candidates, names), first + start + candidates.user, candidates.item, taken))
        first += len(split)
        say(f"candidates: {sum(len(block[0]) for block in blocks):,}")
    features, query, item, taken = (np.concatenate([block[part] for block in blocks]) for part in range(4))
    return Table(names, features, query, item, taken)


def ndcg(
    training: Table, holdout: Table, relevant: Integers, seed: int, threads: int, ranker: dict[str, Any]
) -> Values:
    """NDCG@10 of each list of ``holdout``, ordered by a ranker that learned from ``training``."""
    useful = (np.bincount(training.query, training.taken) > 0)[training.query]
    group = np.bincount(training.query[useful])
    label = training.taken[useful].astype(np.int8)
    rows = RankingSet(training.names, training.features[useful], label, group[group > 0])
    model = fit_ranker(rows, seed, threads, silent, **ranker)
    scores = model.booster.predict(holdout.features, num_threads=threads)
    order = np.lexsort((holdout.item, -np.asarray(scores), holdout.query))
    query = holdout.query[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    hits = np.zeros((len(relevant), K), bool)
    hits[query[place < K], place[place < K]] = holdout.taken[order][place < K]
    return list_metrics(hits, relevant)["ndcg"]


def tables(experiment: Experiment) -> tuple[Table, Table]:
    """What the ranker learns from, and what it is evaluated on."""
    recipe = experiment.recipe
    context = replace(experiment.context, fit_encoder=WarmStart())
    parts = [
        (list(generators.values()), split.only(split.relevant > 0))
        for split, generators in proposing(recipe, experiment.training_splits(), context)
    ]
    training = gather(parts, experiment)
    served = list(fit_generators(recipe, experiment.split.log, context).values())
    return training, gather([(served, experiment.split)], experiment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", help="default: ZHIYIN_DATASET")
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True)
    parser.add_argument("--cut", help="next_days: where the test's days begin")
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--take", choices=("all", "new"), default="all")
    parser.add_argument("--seeds", type=int, default=1, help="rankers a row, their figures averaged by user")
    parser.add_argument("--no-text", action="store_true", help="also without text, which fits the generators again")
    arguments = parser.parse_args()
    settings = get_settings(arguments.dataset)
    marts = current(settings)
    chosen = choose_protocol(arguments.protocol, marts, arguments.cut, arguments.days, LEAST, arguments.take)
    experiment = make_experiment(settings, marts, chosen.protocol, validation=True)
    relevant, recipe = experiment.split.relevant, experiment.recipe
    values: dict[str, Values] = {}
    seconds: dict[str, float] = {}

    def add_row(row: str, training: Table, holdout: Table) -> None:
        started, found = time.perf_counter(), []
        for seed in range(settings.seed, settings.seed + arguments.seeds):
            found.append(ndcg(training, holdout, relevant, seed, settings.threads, recipe.ranker))
        values[row], seconds[row] = np.mean(found, axis=0), round(time.perf_counter() - started, 1)
        gap = paired(values[ALL_PARTS], {row: values[row]})[row]
        interval = f"{gap['low']:+.4f} to {gap['high']:+.4f}"
        say(f"{row}: {values[row].mean():.4f}; all parts less it {gap['mean']:+.4f} ({interval})")

    training, holdout = tables(experiment)
    add_row(ALL_PARTS, training, holdout)
    for name in recipe.generators:
        own = {f"{name}_score", f"{name}_rank"}
        add_row(f"without {name}", *(table.without(own.__contains__, name) for table in (training, holdout)))
    for family, members in group_by_family(training.names).items():
        if not FAMILIES[family].generator:
            own = set(members)
            add_row(f"without {family}", *(table.without(own.__contains__) for table in (training, holdout)))
    if arguments.no_text:
        blind = replace(experiment.context, text=np.zeros_like(experiment.context.text))
        reading = {name: each for name, each in recipe.generators.items() if each.kind not in READS_TEXT}
        fewer = recipe.model_copy(update={"generators": reading})
        add_row("without text", *tables(replace(experiment, context=blind, recipe=fewer)))
    figures, gaps = means(values), paired(values[ALL_PARTS], values)
    rows = {row: {f"ndcg@{K}": figures[row], "all_parts_less_it": gaps[row], "seconds": seconds[row]} for row in values}
    about = {"dataset": settings.dataset, "protocol": chosen.kind, "part": "validation", "seeds": arguments.seeds}
    finish("ablation", about | {"marts": marts.version, "users": len(experiment.split), "rows": rows})


if __name__ == "__main__":
    main()
