"""A fitted model's scores of everyone who is asked for, batch by batch, with what was right."""

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

    ``scores`` float32 [users, items], -inf for what is not listed; ``eligible`` and ``relevant`` bool [users, items].
    """

    start: int
    users: Users
    scores: Floats
    eligible: Mask
    relevant: Mask

    def lists(self, k: int) -> tuple[Integers, Floats]:
        """The best ``k`` items of each user, -1 where there is nothing more, and their scores."""
        best = top_items(self.scores, k)
        scores = np.take_along_axis(self.scores, best, axis=1)
        return np.where(scores > -np.inf, best, -1), scores


def scored_blocks(experiment: Experiment, model: Scorer) -> Iterator[Block]:
    split = experiment.split
    items = experiment.items(split)
    for start in range(0, len(split), USERS_AT_ONCE):
        users = experiment.users(split, start, start + USERS_AT_ONCE)
        n = len(users)
        eligible = np.repeat(split.candidates[None], n, axis=0)
        if not split.repeats:
            eligible[users.repeats.user, users.repeats.item] = False
        scores = np.where(eligible, model.score(users, items), -np.inf).astype(np.float32)
        relevant = np.zeros(scores.shape, bool)
        here = (split.true_user >= start) & (split.true_user < start + n)
        relevant[split.true_user[here] - start, split.true_item[here]] = True
        yield Block(start, users, scores, eligible, relevant)
        experiment.context.progress("score", (start + n) / len(split), f"{start + n:,} of {len(split):,} users")
