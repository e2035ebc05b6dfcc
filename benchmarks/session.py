"""What live events are worth, and how soon lists follow them.

    python -m benchmarks.session [--days 14] [--users 1000] [--requests 200]

The champion of the home (``ZHIYIN_HOME``), and the events of the published marts after its ``as_of``, which it never
saw: ``zhiyin step land``, ``build`` and ``publish`` with a later ``--as-of`` bring them.

(a) Half of each user's first basket is live; NDCG@10 of the rest of that basket, with the session and without; EASE and
item-kNN of the same bundle know history and half basket, and list nothing of the half. (b) Users of whom nothing is
stored: after 1, 2 and 3 live baskets, when the next one begins, NDCG@10 of what they take from then on up to the
fifth, against popularity. (c) Over HTTP, from the acknowledgement of an event to the arrival of the first list that
differs.
95 % bootstrap intervals of the means and of the ratios of means, users resampled.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import finish, say
from benchmarks.session_http import measure_delay
from training.evaluation.metrics import list_metrics
from training.ranking.session_moments import moments_inside
from zhiyin import registry
from zhiyin.contract import FEATURE_AT, USER_ID
from zhiyin.recommender.candidates.base import top_items
from zhiyin.recommender.features import users_at_once
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.state.catalogue import Integers, epoch_seconds
from zhiyin.recommender.state.follow import Events
from zhiyin.recommender.state.history import History, read_interactions
from zhiyin.recommender.state.session import after_events
from zhiyin.recommender.state.users import Users
from zhiyin.settings import Settings, get_settings
from zhiyin.warehouse import current

K = 10
BASKETS = 5  # of a new user
Values = npt.NDArray[np.float64]
Lists = Callable[[Users], Integers]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--days", type=float, default=14.0)
    arguments.add_argument("--users", type=int, default=1_000, help="of (a); a random sample")
    arguments.add_argument("--requests", type=int, default=200, help="of (c); 0 leaves it out")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    settings, started = get_settings(), time.monotonic()
    recommender = champion(settings)
    since = recommender.as_of.timestamp()
    path = current(settings).path("interactions")
    until = recommender.as_of.fromtimestamp(since + given.days * 86_400, recommender.as_of.tzinfo)
    log = History.of(read_interactions(path), recommender.catalogue, until)
    if not (log.at >= since).any():
        raise SystemExit(f"{path} ends at the champion's as_of: land, build and publish some days more")
    figures: dict[str, Any] = {"bundle": recommender.version[:12], "rankers": list(recommender.rankers)}
    figures["rest_of_a_basket"] = rest_of_a_basket(settings, recommender, log, since, given.users, given.seed)
    figures["new_users"] = new_users(recommender, log, since)
    if given.requests:
        figures["delay_ms"] = measure_delay(settings, recommender, given.requests)
    finish("session", figures | {"seconds": round(time.monotonic() - started)})


def champion(settings: Settings) -> Recommender:
    """The bundle that the home serves."""
    pointer = registry.champion(settings)
    if pointer is None:
        raise SystemExit(f"{settings.registry} has no champion: run the pipeline first")
    return Recommender.load(settings.bundles / str(pointer["digest"]))


def stored(settings: Settings, recommender: Recommender, ids: list[str]) -> Users:
    """The users' states as of the champion's ``as_of``; unknown where there is none."""
    path = settings.states / recommender.as_of.date().isoformat() / "users.parquet"
    table = pq.read_table(path)
    table = table.filter(pa.array(epoch_seconds(table[FEATURE_AT]) == recommender.as_of.timestamp()))
    rows = table.take(pc.index_in(pa.array(ids), value_set=table[USER_ID].combine_chunks().cast(pa.string())))
    rows = rows.set_column(rows.column_names.index(USER_ID), USER_ID, pa.array(ids))
    return recommender.users(rows)


def rest_of_a_basket(
    settings: Settings, recommender: Recommender, log: History, since: float, most: int, seed: int
) -> dict[str, Any]:
    moments = moments_inside(log, since, log.cut, seed, most=most)
    before = stored(settings, recommender, [log.user_ids[user] for user in moments.user])
    types = recommender.manifest["event_types"]
    live = after_events(before, moments.events(log), moments.at, recommender.catalogue, types)
    truth = moments.answer(log)
    truth = truth[recommender.item_state.eligible[truth % log.n_items]]

    def peer(name: str) -> Lists:
        def lists(users: Users) -> Integers:
            scores = recommender.generators[name].score(users, recommender.item_state)
            assert users.session is not None
            place = recommender.item_state.place[users.session.item]
            taken = users.session.taken & (place >= 0)
            scores[users.session.user[taken], place[taken]] = -np.inf
            return recommender.item_state.pool[top_items(scores, K)]

        return lists

    rows: dict[str, Values] = {
        "with the session": ndcg(live, truth, log.n_items, served(recommender)),
        "without": ndcg(before, truth, log.n_items, served(recommender)),
    }
    for name in ("item_to_item", "item_knn"):
        if name in recommender.generators:
            rows[f"{name} on basket and history"] = ndcg(live, truth, log.n_items, peer(name))
    return table(rows, "with the session") | {"users": len(moments), "rest": len(truth)}


def new_users(recommender: Recommender, log: History, since: float) -> dict[str, Any]:
    """Users with ``BASKETS`` baskets, whose history is not shown to the recommender."""
    rows = np.flatnonzero((log.at >= since) & log.taken)
    baskets, place = np.unique(
        np.column_stack([log.user[rows], log.at[rows], log.basket[rows]]), axis=0, return_inverse=True
    )
    owner = baskets[:, 0].astype(np.int64)
    nth = (np.arange(len(owner)) - np.searchsorted(owner, owner))[place.ravel()]
    enough = np.unique(owner)[np.unique(owner, return_counts=True)[1] >= BASKETS]
    rows, nth = rows[np.isin(log.user[rows], enough)], nth[np.isin(log.user[rows], enough)]
    user = np.searchsorted(enough, log.user[rows])
    ids = [f"new {number}" for number in range(len(enough))]
    nobody = Users.unknown(ids, np.full(len(ids), since))
    popular = served(recommender)
    found: dict[str, Any] = {"users": len(enough)}
    for live in (1, 2, 3):
        seen = nth < live
        moment = np.full(len(enough), np.inf)  # when the next basket begins
        np.minimum.at(moment, user[nth == live], log.at[rows][nth == live])
        events = Events.of(log, rows[seen], user[seen])
        types = recommender.manifest["event_types"]
        users = after_events(nobody, events, moment, recommender.catalogue, types)
        later = (nth >= live) & (nth < BASKETS) & recommender.item_state.eligible[log.item[rows]]
        truth = np.unique(user[later] * log.n_items + log.item[rows][later])
        values = {
            "live": ndcg(users, truth, log.n_items, served(recommender)),
            "popularity": ndcg(nobody, truth, log.n_items, popular),
        }
        found[f"after {live}"] = table(values, "live")
    return found


def served(recommender: Recommender) -> Lists:
    """The recommender's own lists."""

    def lists(users: Users) -> Integers:
        ranked = recommender.rank_users(users, K)
        found = np.full((len(users), K), -1)
        found[ranked.candidates.user[ranked.chosen], ranked.rank - 1] = ranked.candidates.item[ranked.chosen]
        return found

    return lists


def ndcg(users: Users, truth: Integers, n_items: int, lists: Lists) -> Values:
    """NDCG@10 of each user [users]; ``truth``: user * items + item, ascending."""
    parts = []
    size = users_at_once(n_items)
    for start in range(0, len(users), size):
        listed = lists(users.rows(start, start + size))
        keys = (np.arange(len(listed)) + start)[:, None] * n_items + listed
        relevant = np.bincount(truth // n_items, minlength=len(users))[start : start + len(listed)]
        parts.append(list_metrics(np.isin(keys, truth) & (listed >= 0), relevant)["ndcg"])
    return np.concatenate(parts)


def table(rows: dict[str, Values], main: str) -> dict[str, Any]:
    """Means with intervals, and the ratio of the main row's mean to the others'."""
    random = np.random.default_rng(0)
    samples = random.integers(0, len(rows[main]), (1_000, len(rows[main])))
    means = {name: values[samples].mean(axis=1) for name, values in rows.items()}

    def told(mean: float, resampled: Values) -> list[float]:
        return [round(float(each), 4) for each in (mean, *np.quantile(resampled, (0.025, 0.975)))]

    found: dict[str, Any] = {name: told(float(values.mean()), means[name]) for name, values in rows.items()}
    for name, values in rows.items():
        if name != main:
            ratio = rows[main].mean() / values.mean()
            found[f"{main} / {name}"] = told(float(ratio), means[main] / means[name])
    say(str(found))
    return found


if __name__ == "__main__":
    main()
