"""One run of ``zhiyin benchmark``: the chosen models on one split, or on two of one log, with one seed or several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.lab.experiment import Experiment
from benchmarks.lab.leaderboard import Evaluated, evaluate_model, summarise, without_discoveries
from training.evaluation.figures import K
from training.evaluation.gate import PLAIN

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """An experiment and what each model reached on it; ``facts``: the figures, ready for JSON."""

    experiment: Experiment
    models: dict[str, Evaluated]
    facts: dict[str, Any]


def run(
    experiments: Mapping[str, Experiment],
    models: Sequence[str],
    options: Mapping[str, Mapping[str, Mapping[str, Any]]],
    seeds: int,
    sample: int,
    progress: Callable[[str], Any],
    tell: Tell,
) -> dict[str, Run]:
    """Evaluate every model on every experiment (by kind), which have one log: ours is fitted on it once a seed.

    ``options``: by kind and model. The tables are those of the first seed; ``seeds`` in the facts has the NDCG@10 of
    each, their mean and their spread (standard deviation).
    """
    reached: dict[str, dict[str, Evaluated]] = {kind: {} for kind in experiments}
    by_seed: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in models} for kind in experiments}
    for number in range(seeds):
        for name in models:
            made = None
            for kind, given in experiments.items():
                context = replace(given.context, seed=given.context.seed + number, progress=progress(name))
                experiment = replace(given, context=context)
                found = evaluate_model(experiment, name, options[kind][name], sample if number == 0 else 0, made)
                made = made or found
                figure = float(found.values[f"ndcg@{K}"].mean())
                by_seed[kind][name].append(figure)
                reached[kind].setdefault(name, found)
                if (plain := without_discoveries(experiment, found)) is not None:
                    reached[kind].setdefault(PLAIN, plain)
                    by_seed[kind].setdefault(PLAIN, []).append(float(plain.values[f"ndcg@{K}"].mean()))
                tell(f"{kind}, seed {context.seed}: {name}: NDCG@{K} {figure:.4f}, fit in {found.seconds:.1f} s")
    return {
        kind: Run(
            experiment,
            reached[kind],
            summarise(reached[kind], experiment)
            | {
                "seeds": {
                    name: {"ndcg": found, "mean": float(np.mean(found)), "spread": float(np.std(found))}
                    for name, found in by_seed[kind].items()
                }
            },
        )
        for kind, experiment in experiments.items()
    }
