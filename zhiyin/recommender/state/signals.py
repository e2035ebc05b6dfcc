"""What the live sessions of some users say, event by event."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhiyin.recommender.state.catalogue import Floats, Integers


@dataclass(frozen=True)
class Signals:
    """One entry per event of the live sessions that says something, in the order of users.

    ``weight`` is from -1 to 1. ``taken``: the user has the item by this event. ``query``: the words of a search, whose
    item is -1.
    """

    user: Integers
    item: Integers
    weight: Floats
    taken: npt.NDArray[np.bool_]
    query: npt.NDArray[np.object_]
    current: npt.NDArray[np.bool_]  # whether the user is in a session at this moment [users]

    @property
    def liked(self) -> npt.NDArray[np.bool_]:
        return self.weight > 0
