"""What the live session does to the scores beside the models: a stated, bounded rule.

All amounts are in spreads (standard deviations) of the user's candidate scores, times what the event says
(state/session.py): an event never moves an item further than that. Where a ranker has learned from sessions, what was
taken is its business, and the rule has the other events alone.
"""

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.features import Candidates, Pairs
from zhiyin.recommender.state.catalogue import Catalogue, Integers
from zhiyin.recommender.state.users import Users

GOES_WITH = 1.5  # up: what goes best with the session; others by their share of its score
TAKEN = 3.0  # down: what was taken in this session
AGAINST_KIND = 1.0  # down: the finest kind of what the user was against
AGAINST_CATEGORY = 0.5  # down: the rest of its categoryFAINT = 1e-3  # of the scores of somebody without a history
FAINT = 1e-3  # of the scores of somebody without a history

Scores = npt.NDArray[np.float64]


def refused(users: Users) -> Pairs:
    """What the user was against in this session, as pairs of rows and items: it is not listed."""
    if users.session is None:
        none = np.empty(0, np.int64)
        return none, none
    against = (users.session.weight < 0) & (users.session.item >= 0)
    return users.session.user[against], users.session.item[against]


def follow_session(scores: Scores, candidates: Candidates, users: Users, catalogue: Catalogue, learned: bool) -> Scores:
    """The scores [candidates] after the rule; ``learned``: by a ranker that learned from sessions."""
    signals = users.session
    if signals is None or not len(scores):
        return scores
    user, item, n = candidates.user, candidates.item, len(users)
    spread = _spread(scores, user, n)
    moved = np.zeros(len(scores))

    says = signals.liked & ~(learned & signals.taken)
    strength = np.zeros(n)
    np.maximum.at(strength, signals.user[says], signals.weight[says])
    if "session_score" in candidates.columns:
        fit = np.nan_to_num(candidates.columns["session_score"].astype(np.float64))
        best = np.zeros(n)
        np.maximum.at(best, user, fit)
        share = fit / np.where(best > 0, best, 1.0)[user]
        moved += GOES_WITH * strength[user] * share
        # Of somebody without a history the session is all that is known: it goes first, then the order that there was.
        stranger = (~users.with_history & (best > 0))[user]
        scores = np.where(stranger, FAINT * scores + spread[user] * share, scores)
    if not learned:
        taken = signals.liked & signals.taken & signals.current[signals.user]
        moved -= TAKEN * _strongest(signals.user[taken], signals.item[taken], signals.weight[taken], user, item)
    against = (signals.weight < 0) & (signals.item >= 0)
    owner, disliked, weight = signals.user[against], signals.item[against], -signals.weight[against]
    of_kind = AGAINST_KIND * _strongest(owner, catalogue.kind[disliked], weight, user, catalogue.kind[item])
    placed = catalogue.category[disliked] >= 0
    codes = catalogue.category[disliked][placed]
    of_category = AGAINST_CATEGORY * _strongest(owner[placed], codes, weight[placed], user, catalogue.category[item])
    moved -= np.maximum(of_kind, of_category)
    return np.asarray(scores + moved * spread[user])


def _spread(scores: Scores, user: Integers, n: int) -> Scores:
    """Of each user's candidate scores [users]."""
    count = np.maximum(np.bincount(user, minlength=n), 1)
    finite = np.where(np.isfinite(scores), scores, 0.0)
    mean = np.bincount(user, finite, n) / count
    return np.asarray(np.sqrt(np.bincount(user, (finite - mean[user]) ** 2, n) / count))


def _strongest(
    owner: Integers, code: Integers, weight: npt.NDArray[np.floating], user: Integers, of: Integers
) -> Scores:
    """The largest weight of a user's code, for each wanted pair of user and code; 0 where there is none."""
    found = np.zeros(len(user))
    if not len(owner):
        return found
    breadth = int(max(code.max(), of.max(initial=0))) + 1
    keys, place = np.unique(owner * breadth + code, return_inverse=True)
    best = np.zeros(len(keys))
    np.maximum.at(best, place, weight)
    wanted = np.where(of >= 0, user * breadth + of, -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, best[at], 0.0)
