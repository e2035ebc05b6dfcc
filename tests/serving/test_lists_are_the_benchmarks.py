"""Law 5: what the benchmark scores is what answers over HTTP, for every user of the slice."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.conftest import AS_OF
from tests.serving.running import Service
from training.data import read_data
from training.evaluation.leaderboard import score_batches
from training.protocols import Split
from zhiyin.recommender.recommender import Recommender, Request
from zhiyin.warehouse import current

K = 10


def benchmark_lists(settings, bundle: Path, request: Request) -> dict[str, list[str]]:
    """The lists by which the table's row is made: the benchmark's code on the marts' states as of the run."""
    data = read_data(current(settings), settings.states / AS_OF)
    recommender = Recommender.load(bundle)
    everyone = np.unique(data.history.user)
    nothing = np.empty(0, np.int64)
    moment = np.full(len(everyone), data.history.cut)
    split = Split(data.history, everyone, moment, nothing, nothing, recommender.item_state.eligible, True)
    lists = {}
    for batch in score_batches(recommender, split, data.over(recommender.catalogue).states, request):
        for row, user in enumerate(batch.ranked.users.ids):
            items = batch.models["zhiyin"].lists[row, :K]
            lists[user] = [recommender.catalogue.item_ids[item] for item in items if item >= 0]
    return lists


def test_lists_over_http_equal_the_benchmarks_for_every_user(slice_home, service: Service, champion) -> None:
    settings = slice_home.settings
    files = [str(path) for path in (settings.lake / "transactions").rglob("*.parquet")]
    raw = sorted({str(user) for file in files for user in pc.unique(pq.read_table(file)["household_id"]).to_pylist()})
    expected = benchmark_lists(settings, champion[0], Request())
    asked = [user for user in raw if service.pseudonym(user) in expected]
    assert len(asked) >= 490
    for user in asked:
        answer = service.recommend(user_id=user, k=K)
        assert [item["item_id"] for item in answer["items"]] == expected[service.pseudonym(user)], user
