"""The models of the leaderboard: the peers, and ours as a whole."""

from training.evaluation.gate import WHOLE
from training.evaluation.hybrid import SPACE, fit_hybrid
from training.evaluation.peers import PEERS, Options, Problem, Scorer, fit_peer
from training.evaluation.rectools import RECTOOLS, fit_rectools
from training.evaluation.tuned import NETWORK
from zhiyin.recommender.candidates.space import Space

MODELS = (*PEERS, *RECTOOLS, NETWORK, WHOLE)


def search_space(name: str) -> Space:
    """Within what bounds a model's settings are tuned.

    Raises:
        ValueError: nothing of this model is tuned.
    """
    space = SPACE if name == WHOLE else PEERS[name].space if name in PEERS else {}
    if not space:
        raise ValueError(f"{name} has no settings to tune")
    return space


def fit_model(name: str, problem: Problem, options: Options) -> Scorer:
    """Fit a model of the leaderboard with settings that are not its defaults.

    Raises:
        ValueError: no such model.
        PeersMissingError: one of RecTools', and its environment is not there.
    """
    if name == WHOLE:
        return fit_hybrid(problem, options)
    if name == NETWORK:
        return fit_hybrid(problem, {"network": {}, **options})
    if name in RECTOOLS:
        return fit_rectools(name, problem, options)
    if name not in PEERS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return fit_peer(name, problem.split.log, problem.context, options)
