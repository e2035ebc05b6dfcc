"""Check that serving reads what training read: online and offline values of the same users at the same moment.

The offline values come from Feast's own join, not from the join that writes the states.
"""

import random
from datetime import datetime
from typing import Any

import pyarrow as pa

from feature_repo.definitions import USER_STATE
from feature_repo.online import OnlineStates
from feature_repo.point_in_time import join_by_feast
from feature_repo.store import open_run
from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, USER_ID, USERS
from zhiyin.settings import Settings
from zhiyin.store.sql import read_table


class ParityError(ValueError):
    """An online value differs from the offline one."""


def verify_parity(settings: Settings, clock: Clock, n: int = 50) -> int:
    """Compare, column by column and exactly, the online rows of ``n`` users with their point-in-time rows.

    The users are drawn with ``settings.seed``; the point-in-time rows are joined afresh from the published marts.

    Returns:
        The number of users compared.

    Raises:
        ParityError: a value differs; the message names the user, the column and both values.
        OnlineStoreError: the online store cannot be read.
    """
    store, marts = open_run(settings, clock)
    users = sorted(read_table(marts.path(USERS), columns=[USER_ID])[USER_ID].to_pylist())
    sample = random.Random(settings.seed).sample(users, min(n, len(users)))
    moments = pa.array([clock.as_of] * len(sample), pa.timestamp("us", tz="UTC"))
    spine = pa.table({USER_ID: pa.array(sample, pa.string()), FEATURE_AT: moments})
    offline = join_by_feast(settings, store, store.get_feature_service(USER_STATE), USER_ID, spine)
    states = OnlineStates(settings)
    for expected in offline.to_pylist():
        _compare(states.user(expected[USER_ID]), expected)
    return len(sample)


def _compare(online: dict[str, Any] | None, offline: dict[str, Any]) -> None:
    if online is None:
        online = dict.fromkeys(offline) | {key: offline[key] for key in (USER_ID, FEATURE_AT)}
    for name, value in offline.items():
        if name not in online or not _equal(online[name], value):
            raise ParityError(
                f"user {offline[USER_ID]}, column {name}: online {_short(online.get(name))}, "
                f"offline {_short(value)} as of {offline[FEATURE_AT]:%Y-%m-%d}; apply and materialize again"
            )


def _equal(online: Any, offline: Any) -> bool:
    if isinstance(online, float) and isinstance(offline, float):
        return online == offline or (online != online and offline != offline)  # NaN equals NaN
    if isinstance(online, list) and isinstance(offline, list):
        return len(online) == len(offline) and all(map(_equal, online, offline))
    if isinstance(online, datetime) and isinstance(offline, datetime):
        return online == offline.replace(microsecond=0)  # Feast's online stores keep whole seconds
    return type(online) is type(offline) and bool(online == offline)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
