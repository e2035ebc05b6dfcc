"""Which posted events no list will follow, and why."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bento.event_schemas import WithoutEffect
from zhiyin.contract import FEATURE_AT, ITEM_ID, OCCURRED_AT
from zhiyin.recommender.state.session import AGAINST

if TYPE_CHECKING:
    from bento.running import RunningService

UNKNOWN_ITEM = "unknown_item"
BEFORE_STATE = "before_state"
NOT_LEARNED = "type_not_learned"


async def effects(service: "RunningService", user_id: str, events: list[dict[str, Any]]) -> list[WithoutEffect]:
    """Id and reason of each event that will not change the user's lists; nothing before the first champion."""
    champion = service.champions.current
    if champion is None:
        return []
    recommender = champion.recommender
    row, _ = await service.states.read(user_id, None, champion.user_state)
    state = row.get(FEATURE_AT)
    known = recommender.catalogue.index_of(pa.array([event[ITEM_ID] for event in events], pa.string())) >= 0
    follows = {*recommender.manifest["event_types"], *AGAINST}
    told = []
    for event, of_catalogue in zip(events, known, strict=True):
        reason = None
        if event["event_type"] not in follows and "session" not in recommender.generators:
            reason = NOT_LEARNED
        elif event[ITEM_ID] is not None and not of_catalogue:
            reason = UNKNOWN_ITEM
        elif state is not None and event[OCCURRED_AT] < state:
            reason = BEFORE_STATE
        if reason:
            told.append(WithoutEffect(event_id=event["event_id"], reason=reason))
    return told
