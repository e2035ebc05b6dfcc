"""The house: arrows between rooms run one way, and no file leads back to itself."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from zhiyin.settings import PROJECT

FLOORS = [
    {"zhiyin"},
    {"feature_repo", "training", "monitoring"},
    {"bento"},
    {"pipeline"},
    {"benchmarks", "dags"},
    {"cli"},
]
ROOMS = [room for floor in FLOORS for room in sorted(floor)]
FOLDERS_OF_TWELVE = ("zhiyin", "zhiyin/recommender", "training")


def modules() -> dict[str, Path]:
    files = [path for room in ROOMS for path in (PROJECT / room).rglob("*.py")]
    return {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports() -> dict[str, set[str]]:
    """What each module imports of ours, wherever in the file; a name that is a module counts as that module."""
    known = modules()
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys()
                found[name] |= inner or {node.module} & known.keys()
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & known.keys()
        found[name].discard(name)
    return found


def test_no_module_leads_back_to_itself():
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_rooms_import_only_from_floors_below():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    arrows = {
        (name.split(".")[0], other.split(".")[0]): f"{name} -> {other}"
        for name, others in imports().items()
        for other in others
    }
    up = [told for (room, other), told in arrows.items() if room != other and floor[room] <= floor[other]]
    assert not up


@pytest.mark.parametrize("folder", FOLDERS_OF_TWELVE)
def test_at_most_twelve_stand_side_by_side(folder):
    inside = [path.name for path in (PROJECT / folder).iterdir() if path.name not in ("__init__.py", "__pycache__")]
    assert len(inside) <= 12, inside
