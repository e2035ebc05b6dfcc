"""A run's steps on the features, as several tests take them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import feature_repo
from tests.features.marts import USERS, clock, make_tables, publish
from zhiyin.clock import Clock
from zhiyin.settings import Settings

NEXT = clock(81)


def advance(settings: Settings, dbt_manifest: Path, to: Clock, version: str, **changes: pa.Table) -> dict[str, str]:
    """Publish the marts of a later (or earlier) moment, and bring the features there."""
    publish(settings, to, make_tables(to, changes), version)
    feature_repo.apply(settings, dbt_manifest)
    return feature_repo.materialize(settings, to)


def expect_parity(settings: Settings, at: Clock) -> None:
    assert feature_repo.verify_parity(settings, at, n=100) == len(USERS)


def without(tables: dict[str, pa.Table], user: str, *marts: str) -> dict[str, pa.Table]:
    """The tables, with a user erased from some marts."""
    return tables | {mart: tables[mart].filter(pc.not_equal(tables[mart]["user_id"], user)) for mart in marts}
