"""Promotions: what is on promotion now, of the kinds that the user goes for."""

import numpy as np

from zhiyin.recommender.candidates.base import NOT_A_CANDIDATE
from zhiyin.recommender.candidates.kind_demand import KindDemand
from zhiyin.recommender.state.catalogue import Floats, ItemState
from zhiyin.recommender.state.users import Users


class Promotions(KindDemand):
    """Kind demand times the share of shops that promote the item; for who has no history, its buyers times that share.

    Nothing is proposed where the items' state tells no promotions.
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
