"""The models of the leaderboard: ours as a whole, its generators alone, and the peers."""

from benchmarks.lab.experiment import MODELS, Experiment, Options, Scorer, fit_alone
from benchmarks.peers.rectools import RECTOOLS, fit_rectools
from training.evaluation.gate import WHOLE
from training.ranking.fit_ranker import SPACE
from zhiyin.recommender.candidates import Generator
from zhiyin.recommender.candidates.space import Space

ROWS = (*MODELS, *RECTOOLS, WHOLE)


def search_space(name: str) -> Space:
    """Within what bounds a model's settings are tuned.

    Raises:
        ValueError: nothing of this model is tuned.
    """
    space = SPACE if name == WHOLE else MODELS[name].space if name in MODELS else {}
    if not space:
        raise ValueError(f"{name} has no settings to tune")
    return space


def fit_model(name: str, experiment: Experiment, options: Options) -> Scorer:
    """Fit a generator or a peer with settings that are not its defaults; ours as a whole is no scorer but a product.

    Raises:
        ValueError: no such model.
        PeersMissingError: one of RecTools', and its environment is not there.
    """
    if name in RECTOOLS:
        return fit_rectools(name, experiment, options)
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(ROWS)}")
    model = fit_alone(name, experiment.split.log, experiment.context, options)
    if isinstance(model, Generator) and name in experiment.recipe.generators:
        model.graded = experiment.recipe.generators[name].graded
    return model
