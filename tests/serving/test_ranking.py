"""Grouped requests get the same lists as lone ones, and one bad row harms nobody else."""

import asyncio
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bento.ranking import GROUP, Outcome, Ranking
from zhiyin.recommender.recommender import Recommender


class Watched:
    """The real recommender, noting how many users each call ranks."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.calls: list[int] = []

    def recommend(self, users: list[dict[str, Any]], *asked: Any) -> Any:
        self.calls.append(len(users))
        return self.recommender.recommend(users, *asked)


@pytest.fixture(scope="module")
def recommender(champion: tuple[Path, str]) -> Recommender:
    return Recommender.load(champion[0])


@pytest.fixture(scope="module")
def rows(slice_home: Any, recommender: Recommender) -> list[dict[str, Any]]:
    """States of 20 users as of the model's moment."""
    folder = slice_home.settings.states / f"{recommender.as_of:%Y-%m-%d}"
    states = pq.read_table(folder / "users.parquet", filters=[("feature_at", "=", recommender.as_of)])
    return states.slice(0, 20).to_pylist()


def rank_at_once(recommender: Any, requests: list[tuple[dict[str, Any], int]]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        ranking = Ranking(threads=1)
        outcomes = await asyncio.gather(*(ranking.rank(recommender, row, k, "text") for row, k in requests))
        ranking.close()
        return outcomes

    return asyncio.run(run())


def test_waiting_requests_share_calls_and_get_their_own_lists(
    recommender: Recommender, rows: list[dict[str, Any]]
) -> None:
    watched = Watched(recommender)
    requests = [(row, 5 + place % 2) for place, row in enumerate(rows)]
    outcomes = rank_at_once(watched, requests)
    assert [(slate.user_id, len(slate.items)) for slate, _ in outcomes] == [(row["user_id"], k) for row, k in requests]
    assert [slate for slate, _ in outcomes] == [recommender.recommend([row], k, "text")[0] for row, k in requests]
    assert all(missing == [] for _, missing in outcomes)
    assert len(watched.calls) < len(rows) / 2
    assert max(watched.calls) <= GROUP


def test_a_row_that_cannot_be_ranked_gets_popular_items_and_harms_nobody(
    recommender: Recommender, rows: list[dict[str, Any]]
) -> None:
    broken = {**rows[0], "repeat_baskets": [1]}  # one entry for many items
    outcomes = rank_at_once(recommender, [(row, 10) for row in (rows[1], rows[2], broken, rows[3])])
    assert [missing for _, missing in outcomes] == [[], [], ["user_state_unavailable"], []]
    popular = recommender.recommend([{"user_id": broken["user_id"]}], 10, "text")[0]
    assert outcomes[2][0].items == popular.items
    assert outcomes[3][0] == recommender.recommend([rows[3]], 10, "text")[0]
