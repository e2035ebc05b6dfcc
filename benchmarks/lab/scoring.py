"""A fitted model's scores of every user of a split, batch by batch, with the answer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.lab.experiment import Experiment, Scorer
from training.evaluation.figures import Mask
from zhiyin.recommender.candidates.base import top_items
from zhiyin.recommender.state.catalogue import Floats, Integers
from zhiyin.recommender.state.users import Users

USERS_AT_ONCE = 256


@dataclass(frozen=True)
class Block:
    """A batch of users from place ``start`` of the split on.

    ``scores`` float32 [users, pool], -inf for what is not listed; ``eligible`` and ``relevant`` bool [users, pool];
    ``pool``: catalogue indices of the columns.
    """

    start: int
    users: Users
    scores: Floats
    eligible: Mask
    relevant: Mask
    pool: Integers

    def lists(self, k: int) -> tuple[Integers, Floats]:
        """The best ``k`` items of each user, -1 where there is nothing more, and their scores."""
        best = top_items(self.scores, k)
        scores = np.take_along_axis(self.scores, best, axis=1)
        return np.where(scores > -np.inf, self.pool[best], -1), scores


def scored_blocks(experiment: Experiment, model: Scorer) -> Iterator[Block]:
    split, items = experiment.split, experiment.items()
    place = items.place
    for start in range(0, len(split), USERS_AT_ONCE):
        users = experiment.users(start, start + USERS_AT_ONCE)
        n = len(users)
        eligible = np.ones((n, len(items.pool)), bool)
        if not split.repeats:
            own = place[users.repeats.item]
            eligible[users.repeats.user[own >= 0], own[own >= 0]] = False
        scores = np.where(eligible, model.score(users, items), -np.inf).astype(np.float32)
        relevant = np.zeros(scores.shape, bool)
        here = (split.true_user >= start) & (split.true_user < start + n)
        relevant[split.true_user[here] - start, place[split.true_item[here]]] = True
        yield Block(start, users, scores, eligible, relevant, items.pool)
        experiment.context.progress("score", (start + n) / len(split), f"{start + n:,} of {len(split):,} users")
