"""The moments behind a list: of the item state, of the model and of the user's row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from zhiyin.contract import FEATURE_AT

if TYPE_CHECKING:
    from zhiyin.recommender.recommender import Recommender

STALE_MODEL = "stale_model"
STALE_ITEMS = "stale_item_state"


@dataclass(frozen=True)
class Ages:
    """``as_of``: of the item state; ``model_as_of``: of the models; ``user_state_at``: of the user's row, if any."""

    as_of: datetime
    model_as_of: datetime
    user_state_at: datetime | None

    @classmethod
    def of(cls, recommender: "Recommender", row: Mapping[str, Any]) -> Self:
        return cls(recommender.as_of, datetime.fromisoformat(recommender.manifest["as_of"]), row.get(FEATURE_AT))

    def stale(self, days: int) -> list[str]:
        """Labels of what is more than ``days`` older than the latest of the three moments.

        The user's row has a limit of its own, the ``ttl_days`` of its views (bento/user_states.py). The three are held
        against each other, not against the wall clock: a log may be replayed.
        """
        latest = max(self.as_of, self.model_as_of, self.user_state_at or self.as_of)
        limit = timedelta(days=days)
        moments = {STALE_MODEL: self.model_as_of, STALE_ITEMS: self.as_of}
        return [label for label, moment in moments.items() if latest - moment > limit]
