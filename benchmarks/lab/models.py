"""The models of the leaderboard: the peers, and ours as a whole."""

from benchmarks.lab.experiment import PEERS, Experiment, Options, Scorer, fit_peer
from benchmarks.lab.tuned import NETWORK
from benchmarks.lab.variant import SPACE, fit_hybrid
from benchmarks.peers.rectools import RECTOOLS, fit_rectools
from training.evaluation.gate import WHOLE
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


def fit_model(name: str, experiment: Experiment, options: Options) -> Scorer:
    """Fit a model of the leaderboard with settings that are not its defaults.

    Raises:
        ValueError: no such model.
        PeersMissingError: one of RecTools', and its environment is not there.
    """
    if name == WHOLE:
        return fit_hybrid(experiment, options)
    if name == NETWORK:
        return fit_hybrid(experiment, {"network": {}, **options})
    if name in RECTOOLS:
        return fit_rectools(name, experiment, options)
    if name not in PEERS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return fit_peer(name, experiment.split.log, experiment.context, options)
