"""Code: views are what the dbt manifest says, and an unusable declaration is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from feature_repo.definitions import ITEM, USER, feature_services, feature_view, read_manifest
from tests.features.marts import SHAPES, manifest, write_manifest


def views(path: Path) -> dict[str, Any]:
    return {mart.name: feature_view(mart, Path("/marts") / f"{mart.name}.parquet") for mart in read_manifest(path)}


def edited(path: Path, mart: str, **node: Any) -> Path:
    content = manifest()
    content["nodes"][f"model.zhiyin.{mart}"] |= node
    path.write_text(json.dumps(content))
    return path


def test_every_declared_mart_is_a_view_with_its_columns_types_and_descriptions(dbt_manifest: Path) -> None:
    found = views(dbt_manifest)
    assert set(found) == set(SHAPES)
    repeats = found["user_item_repeats"]
    assert {field.name: str(field.dtype) for field in repeats.features} == {
        "repeat_item_ids": "Array(String)",
        "repeat_baskets": "Array(Int32)",
        "repeat_last_at": "Array(Int64)",
        "repeat_decayed_short": "Array(Float64)",
    }
    activity = found["user_activity"]
    assert {field.name: str(field.dtype) for field in activity.features} == {
        "events_7d": "Int32",
        "amount_28d": "Float64",
        "visits": "Int64",
        "last_event_at": "UnixTimestamp",
    }
    assert {field.description for field in activity.features} >= {"What events_7d means."}
    assert activity.batch_source.timestamp_field == "feature_at"
    assert found["users"].batch_source.timestamp_field == "valid_from"


def test_users_are_served_online_and_items_from_memory(dbt_manifest: Path) -> None:
    found = views(dbt_manifest)
    assert {name for name, view in found.items() if view.online} == {"users", "user_activity", "user_item_repeats"}


def test_a_service_holds_every_view_of_its_entity(dbt_manifest: Path) -> None:
    services = {service.name: service for service in feature_services(views(dbt_manifest).values())}
    assert {projection.name for projection in services["user_state"].feature_view_projections} == {
        "users",
        "user_activity",
        "user_item_repeats",
    }
    assert {projection.name for projection in services["item_state"].feature_view_projections} == {
        "items",
        "item_activity",
    }
    assert (USER.join_key, ITEM.join_key) == ("user_id", "item_id")


def test_a_column_can_be_kept_out_of_the_features(tmp_path: Path) -> None:
    meta = {"feast": {"entities": ["item_id"], "timestamp": "valid_from", "except": ["available"]}}
    path = edited(tmp_path / "manifest.json", "items", config={"meta": meta})
    assert [field.name for field in views(path)["items"].features] == ["title"]


@pytest.mark.parametrize("kind", ["hugeint", "decimal(18,3)", "date", "struct(a integer)", "integer[][]", ""])
def test_a_type_that_would_not_survive_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    shapes = SHAPES | {"users": ("user_id", "valid_from", {"odd": kind})}
    with pytest.raises(ValueError, match=r"users\.odd: type .* is no feature type"):
        views(write_manifest(tmp_path / "manifest.json", shapes))


@pytest.mark.parametrize(
    ("feast", "message"),
    [
        ({"entities": ["shop_id"], "timestamp": "feature_at"}, r"users: meta\.feast\.entities is \['shop_id'\]"),
        ({"entities": ["user_id"]}, r"users: meta\.feast has no timestamp"),
        ({"entities": ["user_id"], "timestamp": "seen_at"}, "users: meta.feast names column seen_at"),
        ({"entities": ["user_id"], "timestamp": "valid_from", "except": ["x"]}, "users: meta.feast names column x"),
    ],
)
def test_an_unusable_declaration_is_refused_by_name(tmp_path: Path, feast: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_manifest(edited(tmp_path / "manifest.json", "users", config={"meta": {"feast": feast}}))


def test_two_marts_of_an_entity_may_not_define_one_feature(tmp_path: Path) -> None:
    shapes = SHAPES | {"users": ("user_id", "valid_from", {"events_7d": "integer"})}
    with pytest.raises(ValueError, match="feature events_7d is defined in users and in user_activity"):
        read_manifest(write_manifest(tmp_path / "manifest.json", shapes))


def test_a_missing_manifest_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run dbt"):
        read_manifest(tmp_path / "manifest.json")
