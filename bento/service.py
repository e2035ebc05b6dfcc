"""The BentoML service ``zhiyin``. By hand: ``bentoml serve bento.service:Recommendations``."""

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import bentoml
from bentoml._internal.utils.analytics import usage_stats
from starlette.responses import Response

from bento.ages import Ages
from bento.openapi import describe
from bento.request_validation import RequestValidation
from bento.schemas import RecommendedItem, RecommendRequest, RecommendResponse, no_model
from bento.web import app as page
from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.settings import get_settings

if TYPE_CHECKING:
    from bento.champion import Champion

# Law 11, also when `bentoml serve` is started by hand: its command line caches the setting before it imports us.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
usage_stats.do_not_track.cache_clear()

# Lists are made ZHIYIN_THREADS at a time, each on one core. With more threads per list, idle BLAS threads spin and
# occupy the cores: 70 ms instead of 30 ms on two cores. Set before numpy and torch are imported, which read it.
os.environ["OMP_NUM_THREADS"] = "1"

NOT_LOGGED = "impression_not_logged"


@bentoml.service(
    name="zhiyin",
    workers=1,
    traffic={"timeout": 10},
    metrics={"enabled": True},
    logging={"access": {"enabled": False}},
    envs=[{"name": "BENTOML_DO_NOT_TRACK", "value": "True"}],
)
@bentoml.asgi_app(page, path="/")
class Recommendations:
    """Personalised, explained lists of items.

    Callers send their own user ids; the service works with pseudonyms. An unknown user gets popular items.
    """

    def __init__(self) -> None:
        # Imported here because the supervising process imports this module without needing them.
        from prometheus_client import Counter

        from bento.champion import ChampionWatch
        from bento.clock import ServiceClock
        from bento.durable_log import DurableLog
        from bento.live import LiveSessions
        from bento.ranking import Ranking
        from bento.user_states import UserStates

        self.settings = get_settings()
        self.key = load_key(self.settings)
        self.clock = ServiceClock()
        self.states = UserStates(self.settings)
        self.impressions = DurableLog(self.settings.feedback / "impressions")
        self.events = DurableLog(self.settings.feedback / "events")  # bento/events.py
        self.live = LiveSessions(self.settings)
        self.ranking = Ranking(self.settings.threads)
        self.answers = Counter("zhiyin_answers", "Lists answered, by what was missing.", ["missing"])
        self.champions = ChampionWatch(self.settings, self.states.read_now, _packaged())
        self.champions.start()
        page.state.service = self  # bento/running.py

    def document(self) -> dict[str, Any]:
        """The OpenAPI document: BentoML's, described in our words."""
        return describe(Recommendations.openapi_spec.asdict(), Recommendations.inner.__doc__)  # type: ignore[attr-defined]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        self.champions.stop()
        self.ranking.close()
        self.states.close()
        self.live.close()
        self.impressions.close()
        self.events.close()

    def __is_ready__(self) -> bool:
        """Ready once a champion is loaded: before that there is no list to degrade to (the exception to law 8)."""
        return self.champions.current is not None

    @bentoml.api(output_spec=RecommendResponse)  # type: ignore[untyped-decorator]
    async def recommend(self, request: RecommendRequest, /) -> RecommendResponse | Response:
        """The best k items for a user, best first, each with its evidence."""
        champion = self.champions.current
        if champion is None:
            return no_model()
        user_id = pseudonymise(self.key, request.user_id)
        state, missing = await self.states.read(user_id, champion.recommender.as_of, champion.user_state)
        state, missing = await self.live.follow(state, missing, self.clock.requested(champion.recommender.as_of))
        asked = request.k, request.explain, request.contributions, request.new_only, request.discoveries
        slate, more = await self.ranking.rank(champion.recommender, state, *asked)
        missing += more
        # A user who could not be looked up is not reported as unknown.
        missing += [label for label in slate.missing if not (missing and label == "unknown_user")]
        ages = Ages.of(champion.recommender, state)
        missing += ages.stale(self.settings.stale_days)
        answer = RecommendResponse(
            request_id=uuid4().hex,
            model_version=champion.recommender.version,
            as_of=ages.as_of,
            model_as_of=ages.model_as_of,
            user_state_at=ages.user_state_at,
            at=ages.at,
            age_days=ages.days,
            moments_differ=ages.differ,
            missing=missing,
            items=[RecommendedItem.model_validate(item, from_attributes=True) for item in slate.items],
        )
        try:
            await asyncio.wrap_future(self.impressions.append(_impression(user_id, request, answer, champion)))
        except Exception:  # logged where it happened; the list is served even when the disk is full
            answer.missing.append(NOT_LOGGED)
        for label in answer.missing or ["nothing"]:
            self.answers.labels(label).inc()
        return answer


def _packaged() -> dict[str, Any] | None:
    """A pointer to the bundle inside the running bento, for containers, where the registry has no champion."""
    bento = Recommendations.bento  # type: ignore[attr-defined]
    if bento is None:
        return None
    model = bentoml.models.get(bento.info.all_models[0].tag)
    return {"digest": model.info.labels["digest"], "bundle": model.path}


def _impression(
    user_id: str, request: RecommendRequest, answer: RecommendResponse, champion: "Champion"
) -> dict[str, Any]:
    return {
        "request_id": answer.request_id,
        "served_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "user_id": user_id,
        "model_version": answer.model_version,
        "as_of": answer.as_of.isoformat(),
        "model_as_of": answer.model_as_of.isoformat(),
        "user_state_at": answer.user_state_at and answer.user_state_at.isoformat(),
        "rules": champion.recommender.rules.rules.digest[:12],
        "k": request.k,
        "explain": request.explain,
        "new_only": request.new_only,
        "discoveries": request.discoveries,
        "missing": answer.missing,
        "items": [{"item_id": item.item_id, "rank": item.rank, "score": item.score} for item in answer.items],
    }


Recommendations.add_asgi_middleware(RequestValidation)  # type: ignore[attr-defined]  # the decorator made it a Service
