"""What each part of the whole is worth: without a generator, without a family of features, without any text.

    python -m benchmarks.ablation --dataset movielens_100k --protocol leave_one_out [--seeds 3] [--no-text]
    python -m benchmarks.ablation --protocol next_days --cut 2017-12-01

On the validation question of the published marts (`zhiyin benchmark --validation`), with the settings that
`zhiyin benchmark` takes. The generators are fitted once and the ranker anew for each row: leaving a generator out takes
its candidates that no other proposed, and its score and rank. Without text, generators that read it are left out and
the others are fitted without it. NDCG@10 with its 95 % bootstrap interval, and the paired difference of the whole.
"""

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks import finish, say
from benchmarks.lab.experiment import Experiment
from benchmarks.lab.leaderboard import make_experiment
from benchmarks.lab.options import DAYS, LEAST, PROTOCOLS, choose_protocol
from benchmarks.lab.tuned import tuned
from benchmarks.lab.variant import PRODUCTION, USERS_AT_ONCE, earlier_splits, fit_generators, proposals
from training.evaluation.figures import K, Mask, means, paired
from training.evaluation.gate import WHOLE
from training.evaluation.metrics import Values, list_metrics
from training.protocols import Split
from training.ranking.fit_ranker import fit_ranker
from training.ranking.ranking_set import RankingSet
from zhiyin.recommender.candidates.base import Generator, silent
from zhiyin.recommender.ranker import matrix
from zhiyin.recommender.state.catalogue import Floats, Integers
from zhiyin.settings import Settings, get_settings
from zhiyin.warehouse import current

READS_TEXT = ("text_neighbours", "content")
FAMILIES = {  # of the ranker's features, by name
    "scores and ranks": r".*_(score|rank)",
    "habits with the item": r"(baskets|quantity_a_basket|days_since_(last|first)|mean_gap_days|due|baskets_a_day"
    r"|long_short_trend|(long|short)(_of_best)?)",
    "habits with kind and category": r"(kind|category)_(long|short|items|days_since_last|best_long)|category_affinity",
    "rhythm of baskets": r"(item|kind|category)_(recent_\w+|baskets_since|last_gap_days)",
    "state of the user": r"user_\w+(?<!_score)(?<!_rank)",
    "state of the item": r"item_(?!recent_|baskets_since|last_gap_days)\w+(?<!_score)(?<!_rank)",
    "user against item": r"due_for_all|price_to_usual",
}


@dataclass(frozen=True)
class Table:
    """Candidates of one or more questions: ``query`` numbers the lists, ascending; ``taken``: whether it was right."""

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


def gather(questions: list[tuple[list[Generator], Split]], experiment: Experiment) -> Table:
    """Described candidates of each question, by the generators that go with it."""
    blocks: list[tuple[Floats, Integers, Integers, Mask]] = []
    names: list[str] = []
    first = 0
    for generators, split in questions:
        for batch, (candidates, taken) in enumerate(proposals(generators, split, experiment)):
            names = names or sorted(candidates.columns)
            query = first + batch * USERS_AT_ONCE + candidates.user
            blocks.append((matrix(candidates, names), query, candidates.item, taken))
        first += len(split)
        say(f"candidates: {sum(len(block[0]) for block in blocks):,}")
    features, query, item, taken = (np.concatenate([block[part] for block in blocks]) for part in range(4))
    return Table(names, features, query, item, taken)


def ndcg(lessons: Table, asked: Table, relevant: Integers, settings: Settings, ranker: dict[str, Any]) -> Values:
    """NDCG@10 of each list of ``asked``, ordered by a ranker that learned from ``lessons``."""
    teach = (np.bincount(lessons.query, lessons.taken) > 0)[lessons.query]
    group = np.bincount(lessons.query[teach])
    rows = RankingSet(lessons.names, lessons.features[teach], lessons.taken[teach].astype(np.int8), group[group > 0])
    model = fit_ranker(rows, settings, silent, **ranker)
    scores = model.booster.predict(asked.features, num_threads=settings.threads)
    order = np.lexsort((asked.item, -np.asarray(scores), asked.query))
    query = asked.query[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    hits = np.zeros((len(relevant), K), bool)
    hits[query[place < K], place[place < K]] = asked.taken[order][place < K]
    return list_metrics(hits, relevant)["ndcg"]


def tables(experiment: Experiment, options: dict[str, Any], generators: dict[str, Any]) -> tuple[Table, Table]:
    """What the ranker learns from, and what it is asked: teachers are fitted before the earliest question."""
    splits = earlier_splits(experiment, options.get("questions", 1))
    teachers = fit_generators(splits[0].log, experiment, generators)
    lessons = gather([(teachers, split) for split in splits], experiment)
    served = fit_generators(experiment.split.log, experiment, generators)
    return lessons, gather([(served, experiment.split)], experiment)


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
    question = choose_protocol(arguments.protocol, marts, arguments.cut, arguments.days, LEAST, arguments.take)
    experiment = make_experiment(settings, marts, question.protocol, validation=True)
    options = tuned(settings.dataset, question.kind, WHOLE)
    if not options.get("questions", 1):
        raise SystemExit(f"the whole has no ranker on {question.kind}: nothing to leave out")
    generators = options.get("generators", {name: {} for name in PRODUCTION})
    relevant = experiment.split.relevant
    values: dict[str, Values] = {}
    seconds: dict[str, float] = {}

    def evaluate_model(row: str, lessons: Table, asked: Table) -> None:
        started, found = time.perf_counter(), []
        for seed in range(arguments.seeds):
            seeded = settings.model_copy(update={"seed": settings.seed + seed})
            found.append(ndcg(lessons, asked, relevant, seeded, options.get("ranker", {})))
        values[row], seconds[row] = np.mean(found, axis=0), round(time.perf_counter() - started, 1)
        gap = paired(values["the whole"], {row: values[row]})[row]
        interval = f"{gap['low']:+.4f} to {gap['high']:+.4f}"
        say(f"{row}: {values[row].mean():.4f}; the whole less it {gap['mean']:+.4f} ({interval})")

    lessons, asked = tables(experiment, options, generators)
    evaluate_model("the whole", lessons, asked)
    for name in generators:
        own = {f"{name}_score", f"{name}_rank"}
        evaluate_model(f"without {name}", *(table.without(own.__contains__, name) for table in (lessons, asked)))
    for family, pattern in FAMILIES.items():
        own = {name for name in lessons.names if re.fullmatch(pattern, name)}
        if own:
            evaluate_model(f"without {family}", *(table.without(own.__contains__) for table in (lessons, asked)))
    if arguments.no_text:
        blind = replace(experiment, context=replace(experiment.context, text=np.zeros_like(experiment.context.text)))
        fewer = {name: each for name, each in generators.items() if each.get("model", name) not in READS_TEXT}
        evaluate_model("without text", *tables(blind, options, fewer))
    figures, gaps = means(values), paired(values["the whole"], values)
    rows = {row: {f"ndcg@{K}": figures[row], "whole_less_it": gaps[row], "seconds": seconds[row]} for row in values}
    asked_for = {"dataset": settings.dataset, "protocol": question.kind, "part": "validation", "seeds": arguments.seeds}
    finish("ablation", asked_for | {"marts": marts.version, "users": len(experiment.split), "rows": rows})


if __name__ == "__main__":
    main()
