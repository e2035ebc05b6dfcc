"""The moments behind a list: of the item state, of the model and of the user's row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from zhiyin.contract import FEATURE_AT
from zhiyin.recommender.state.session import moment_of

if TYPE_CHECKING:
    from zhiyin.recommender.recommender import Recommender

STALE_MODEL = "stale_model"
STALE_ITEMS = "stale_item_state"


@dataclass(frozen=True)
class Ages:
    """``as_of``: of the item state; ``model_as_of``: of the models; ``user_state_at``: of the user's row, if any.

    ``at``: the moment of the list, from which the ages of the three are counted.
    """

    as_of: datetime
    model_as_of: datetime
    user_state_at: datetime | None
    at: datetime

    @classmethod
    def of(cls, recommender: "Recommender", row: Mapping[str, Any]) -> Self:
        as_of, model, state = (
            recommender.as_of,
            datetime.fromisoformat(recommender.manifest["as_of"]),
            row.get(FEATURE_AT),
        )
        return cls(as_of, model, state, max(as_of, model, state or as_of, moment_of(row) or as_of))

    @property
    def days(self) -> dict[str, float]:
        """The age of each part at the moment of the list, in days."""
        parts = {"item_state": self.as_of, "model": self.model_as_of, "user_state": self.user_state_at}
        return {name: round((self.at - moment).total_seconds() / 86_400, 3) for name, moment in parts.items() if moment}

    @property
    def differ(self) -> bool:
        """Whether the parts are as of different moments."""
        return len({self.as_of, self.model_as_of, self.user_state_at or self.as_of}) > 1

    def stale(self, days: int) -> list[str]:
        """Labels of what is more than ``days`` older than the latest of the three moments.

        The user's row has a limit of its own, the ``ttl_days`` of its views (bento/user_states.py). The three are held
        against each other, not against the wall clock: a log may be replayed.
        """
        latest = max(self.as_of, self.model_as_of, self.user_state_at or self.as_of)
        limit = timedelta(days=days)
        moments = {STALE_MODEL: self.model_as_of, STALE_ITEMS: self.as_of}
        return [label for label, moment in moments.items() if latest - moment > limit]
