"""A small world in which the right recommendation can be proved: a checkerboard of users and items."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.lab.experiment import Experiment
from training.interest.train_encoder import fit_within
from training.log_states import LogStates
from zhiyin.clock import Clock
from zhiyin.recommender.candidates import Context
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, ItemState
from zhiyin.recommender.state.history import History
from zhiyin.recommender.state.users import Users
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts

NOW = datetime(2020, 3, 1, tzinfo=UTC)
DAY = 86_400
CLOCK = Clock(NOW, label_days=9)
N_USERS, N_ITEMS = 24, 12


def items_table(n_items: int = N_ITEMS) -> pa.Table:
    """Even items are sweet, odd ones salty."""
    taste = ["sweet" if item % 2 == 0 else "salty" for item in range(n_items)]
    return pa.table(
        {
            "item_id": [f"i{item:03d}" for item in range(n_items)],
            "title": [f"Thing {item}" for item in range(n_items)],
            "brand": ["Acme"] * n_items,
            "department": ["FOOD"] * n_items,
            "category": taste,
            "category_path": [f"FOOD > {name}" for name in taste],
            "labels": [["snack", f"{name}ish"] if item % 3 else None for item, name in enumerate(taste)],
            "price": [1.0 + item for item in range(n_items)],
            "document": [f"acme {name} thing {item}" for item, name in enumerate(taste)],
        }
    )


def catalogue(n_items: int = N_ITEMS) -> Catalogue:
    items = items_table(n_items)
    return Catalogue.of(items, items["item_id"].to_pylist())


def text(n_items: int = N_ITEMS) -> np.ndarray:
    """Document vectors that tell sweet from salty, and a little of their own."""
    vectors = np.random.default_rng(0).normal(scale=0.1, size=(n_items, 8)).astype(np.float32)
    vectors[:, 0] += np.where(np.arange(n_items) % 2 == 0, 1.0, -1.0)
    return vectors


def events() -> list[tuple[str, str, str, datetime]]:
    """Even users buy even items, odd users odd ones; each leaves out one of its own, ``left_out``.

    (user_id, item_id, basket_id, occurred_at), oldest first within a user: a random two every third day.
    """
    random = np.random.default_rng(5)
    rows = []
    for user in range(N_USERS):
        own = [item for item in range(N_ITEMS) if item % 2 == user % 2 and item != left_out(user)]
        for visit in range(12):
            at = NOW - timedelta(days=3 * (12 - visit), hours=user % 5)
            for item in sorted(random.choice(own, 2, replace=False)):
                rows.append((f"u{user:02d}", f"i{item:03d}", f"b{user:02d}-{visit}", at))
    return rows


def left_out(user: int) -> int:
    """The one item of its own colour that a user never bought."""
    return (2 * (user // 2) + user % 2) % N_ITEMS


def interactions(rows: list[tuple[str, str, str, datetime]]) -> pa.Table:
    users, items, baskets, moments = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": pa.array(users),
            "item_id": pa.array(items),
            "event_type": pa.array(["purchase"] * len(rows)),
            "value": pa.array([1.0] * len(rows)),
            "amount": pa.array([3.0] * len(rows)),
            "basket_id": pa.array(baskets),
            "occurred_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
        }
    )


def user_rows(rows: list[tuple[str, str, str, datetime]], at: datetime = NOW) -> list[dict]:
    """Rows of users.parquet as of a moment, by plain loops: an independent reading of the spec of the columns."""
    states = []
    for user in sorted({row[0] for row in rows}):
        mine = sorted((row for row in rows if row[0] == user and row[3] < at), key=lambda row: (row[3], row[2], row[1]))
        if not mine:
            continue
        baskets = list(dict.fromkeys(row[2] for row in mine))
        habits = []
        for item in {row[1] for row in mine}:
            when = sorted({row[2]: row[3] for row in mine if row[1] == item}.values())
            ages = [(at - moment).total_seconds() / DAY for moment in when]
            gap = (when[-1] - when[0]).total_seconds() / DAY / (len(when) - 1) if len(when) > 1 else -1.0
            habits.append(
                {
                    "item": item,
                    "baskets": len(when),
                    "first": int(when[0].timestamp()),
                    "last": int(when[-1].timestamp()),
                    "short": sum(2 ** (-age / 14) for age in ages),
                    "long": sum(2 ** (-age / 90) for age in ages),
                    "gap": gap,
                }
            )
        habits.sort(key=lambda habit: (-habit["last"], habit["item"]))
        tastes = {"sweet": 0.0, "salty": 0.0}
        for row in mine:
            tastes["sweet" if int(row[1][1:]) % 2 == 0 else "salty"] += 1 / len(mine)
        states.append(
            {
                "user_id": user,
                "feature_at": at,
                "events_28d": sum(row[3] >= at - timedelta(days=28) for row in mine),
                "amount_28d": 3.0 * len(mine),
                "last_event_at": mine[-1][3],
                "diet": "sweet" if int(user[1:]) % 2 == 0 else "salty",
                "region": None,
                "affinity_categories": sorted(tastes, key=lambda name: -tastes[name]),
                "affinity_shares": sorted(tastes.values(), reverse=True),
                **label_shares([row[1] for row in mine]),
                "repeat_item_ids": [habit["item"] for habit in habits],
                "repeat_baskets": [habit["baskets"] for habit in habits],
                "repeat_quantities": [float(habit["baskets"]) for habit in habits],
                "repeat_first_at": [habit["first"] for habit in habits],
                "repeat_last_at": [habit["last"] for habit in habits],
                "repeat_decayed_short": [habit["short"] for habit in habits],
                "repeat_decayed_long": [habit["long"] for habit in habits],
                "repeat_mean_gap_days": [habit["gap"] for habit in habits],
                "sequence_item_ids": [row[1] for row in mine],
                "sequence_at": [int(row[3].timestamp()) for row in mine],
                "sequence_types": ["purchase"] * len(mine),
                "sequence_values": [1.0] * len(mine),
                "sequence_baskets": [baskets.index(row[2]) for row in mine],
            }
        )
    return states


def label_shares(item_ids: list[str]) -> dict[str, list]:
    """How many of the events with labelled items are with each label, all of the same age."""
    labels = dict(zip(*(items_table()[name].to_pylist() for name in ("item_id", "labels")), strict=True))
    found = [labels[item] for item in item_ids if labels[item]]
    names = sorted({name for each in found for name in each})
    shares = [sum(name in each for each in found) / len(found) for name in names]
    return {"affinity_labels": names, "affinity_label_shares": shares}


def user_history(rows: list[tuple[str, str, str, datetime]]) -> pa.Table:
    """The mart user_history: known since ever, and never changed."""
    since = {"valid_from": datetime(2019, 1, 1), "valid_to": None, "attributes": None}
    return pa.Table.from_pylist(
        [{key: row[key] for key in ("user_id", "diet", "region")} | since for row in user_rows(rows)]
    )


def item_rows(rows: list[tuple[str, str, str, datetime]], n_items: int = N_ITEMS, at: datetime = NOW) -> pa.Table:
    """Rows of items.parquet as of a moment."""
    states = []
    for item in range(n_items):
        name = f"i{item:03d}"
        mine = [row for row in rows if row[1] == name and row[3] < at]
        ages = [(at - row[3]).days for row in mine]
        states.append(
            {
                "item_id": name,
                "feature_at": at,
                "events_7d": sum(age < 7 for age in ages),
                "events_28d": sum(age < 28 for age in ages),
                "events_90d": sum(age < 90 for age in ages),
                "users_28d": len({row[0] for row, age in zip(mine, ages, strict=True) if age < 28}),
                "users_90d": len({row[0] for row, age in zip(mine, ages, strict=True) if age < 90}),
                "promoted": 0.5 if item == 3 else 0.0,
                "last_event_at": max((row[3] for row in mine), default=None),
            }
        )
    return pa.Table.from_pylist(states)


def experiment_of(world: "World", protocol, split, recipe: Recipe | None = None) -> Experiment:
    """An experiment of the lab on the checkerboard, with states read off the log."""
    states = LogStates(world.catalogue, world.context.users)
    return Experiment(protocol, split, world.context, states, recipe or Recipe())


def home_of(home: Path, rows: list[tuple[str, str, str, datetime]]) -> tuple[Settings, Marts, Path]:
    """Marts and states of a log as of ``NOW``, on disk: what a run of training reads."""
    settings = Settings(home=home, threads=1, encoder_minutes=0.001, label_days=CLOCK.label_days)  # type: ignore[call-arg]
    counts = {"interactions": len(rows), "items": N_ITEMS, "user_history": N_USERS}
    marts = Marts(home / "marts", {"rows": counts, "as_of": NOW.isoformat(), "digest": "d"})
    marts.folder.mkdir()
    pq.write_table(interactions(rows), marts.path("interactions"))
    pq.write_table(items_table(), marts.path("items"))
    pq.write_table(user_history(rows), marts.path("user_history"))
    states = home / "states"
    states.mkdir()
    users = [row for at in CLOCK.snapshots for row in user_rows(rows, at)]
    pq.write_table(pa.Table.from_pylist(users), states / "users.parquet")
    pq.write_table(pa.concat_tables([item_rows(rows, at=at) for at in CLOCK.snapshots]), states / "items.parquet")
    return settings, marts, states


class World:
    """The checkerboard as every model reads it."""

    def __init__(self) -> None:
        self.events = events()
        self.catalogue = catalogue()
        self.history = History.of(interactions(self.events), self.catalogue, NOW)
        self.user_rows = user_rows(self.events)
        words = pa.Table.from_pylist(
            [{key: row[key] for key in ("user_id", "diet", "region")} for row in self.user_rows]
        )
        self.context = Context(
            self.catalogue, text(), seed=1, threads=1, fit_encoder=fit_within(2.0), users=lambda moment: words
        )
        self.users = Users.of(self.user_rows, self.catalogue, NOW.timestamp())
        self.items = ItemState.of(item_rows(self.events), self.catalogue, NOW)
