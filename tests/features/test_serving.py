"""What the service makes of the online store: labels of what is old or missing, and the features a model knows."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import feature_repo
from bento.user_states import STALE, UNAVAILABLE, UserStates, trained_with
from tests.features.conftest import filled, redis_server
from tests.features.marts import AS_OF, USERS, clock
from zhiyin.settings import Settings


def read(states: UserStates, *arguments: Any) -> tuple[dict[str, Any], list[str]]:
    return asyncio.run(states.read(USERS[0], *arguments))


def test_old_features_are_used_and_said_to_be_old(store: Settings) -> None:
    states = UserStates(store)
    fresh, missing = read(states, clock(80 + 7).as_of)
    assert missing == []
    assert fresh["events_7d"] is not None
    assert read(states, clock(80 + 8).as_of) == (fresh, [STALE])
    assert read(states)[1] == []  # of no model


def test_a_redis_that_goes_down_costs_the_personal_part_alone(
    settings: Settings, dbt_manifest: Path, tmp_path: Path
) -> None:
    with redis_server(tmp_path) as url:
        settings = filled(settings, dbt_manifest, url)
        states = UserStates(settings)
        row, missing = read(states, AS_OF.as_of)
        assert missing == []
    for _ in range(5):
        assert read(states, AS_OF.as_of) == ({"user_id": USERS[0]}, [UNAVAILABLE])
    with redis_server(tmp_path, port=int(url.split(":")[-1].split("/")[0])):
        assert read(states, AS_OF.as_of)[1] == [UNAVAILABLE]  # back, and empty
        feature_repo.materialize(settings, AS_OF)
        assert read(states, AS_OF.as_of) == (row, [])


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
def test_a_bundle_is_served_the_features_of_its_states(store: Settings) -> None:
    states = feature_repo.read_offline(store, AS_OF)
    bundle = {"as_of": AS_OF.as_of.isoformat(), "marts": f"{AS_OF.date}-a"}
    service = trained_with(store, bundle)
    assert service.startswith("user_state_")
    assert UserStates(store).read_now(USERS[0], service) == UserStates(store).read_now(USERS[0])
    assert trained_with(store, bundle | {"marts": "of a later run"}) == "user_state"
    states.rename(states.with_name("gone"))
    assert trained_with(store, bundle) == "user_state"
