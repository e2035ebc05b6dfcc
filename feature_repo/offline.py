"""Point-in-time user and item states at each snapshot."""

from pathlib import Path

import pyarrow as pa

from feature_repo.definitions import ITEM_STATE, USER_STATE
from feature_repo.point_in_time import connect, join_query, quoted
from feature_repo.store import open_run, service_version
from zhiyin.clock import Clock
from zhiyin.contract import FEATURE_AT, ITEM_ID, ITEMS, USER_ID, USERS
from zhiyin.settings import Settings
from zhiyin.store import atomic_folder, write_manifest
from zhiyin.store.sql import rows_of, written

# file, feature service, key, mart with every key
STATES = (("users", USER_STATE, USER_ID, USERS), ("items", ITEM_STATE, ITEM_ID, ITEMS))


def read_offline(settings: Settings, clock: Clock) -> Path:
    """Read the state of every user and every item at each of ``clock.snapshots``.

    DuckDB joins, sorts and writes within ``settings.memory_limit``, however many keys there are.

    Returns:
        ``settings.states/<date>`` with ``users.parquet`` (user_id x feature_at) and ``items.parquet``
        (item_id x feature_at): every feature of the entity under its own name, null where unknown, timestamps in UTC;
        sorted by key and moment. Reading again replaces the folder. The manifest's ``services`` name the
        versions of the feature services that were read.

    Raises:
        ValueError: the published marts have another ``as_of`` than the clock, or were not applied.
    """
    store, marts = open_run(settings, clock)
    folder = settings.states / clock.date
    moments = pa.table({FEATURE_AT: pa.array(clock.snapshots, pa.timestamp("us", tz="UTC"))})
    with atomic_folder(folder, replace=True) as temporary, connect(settings) as connection:
        connection.register("moments", moments)
        rows, services = {}, {}
        for name, service, key, mart in STATES:
            spine = f"(select {key}, {FEATURE_AT} from read_parquet({quoted(str(marts.path(mart)))}), moments)"
            states = join_query(store, store.get_feature_service(service), key, spine)
            path = temporary / f"{name}.parquet"
            connection.execute(f"copy ({states} order by 1, 2) to {quoted(str(path))} {written(100_000)}")
            rows[name] = rows_of(path, connection)
            services[name] = service_version(store, service)
        write_manifest(temporary, as_of=clock.as_of.isoformat(), marts=marts.version, rows=rows, services=services)
    return folder
