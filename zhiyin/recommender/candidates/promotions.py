"""Promotions: items on promotion now, of the kinds that the user takes. Our own; no paper."""

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE
from zhiyin.recommender.candidates.kind_demand import KindDemand
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.users import Users


class Promotions(KindDemand):
    """Kind demand times the reach of the item's promotion; for users without a history, its buyers times the reach.

    Nothing is proposed where the items' state has no promotions.
    """

    name = "promotions"
    quota = 40

    def score(self, users: Users, items: ItemState) -> Floats:
        absent = np.zeros(len(items.eligible), np.float32)
        promoted = np.nan_to_num(items.columns.get("promoted", absent))
        buyers = items.column("users_28d")[items.pool]
        demand = np.where(users.with_history[:, None], super().score(users, items), buyers)
        scores = np.maximum(demand, 0) * promoted[items.pool]
        return np.where(scores > 0, scores, NOT_A_CANDIDATE).astype(np.float32)
