"""The code that a bundle comes from."""

from functools import cache

from zhiyin.settings import PROJECT
from zhiyin.store import file_digest, json_digest

ROOMS = ("zhiyin", "feature_repo", "training")


@cache
def code_digest() -> str:
    """Of every Python file that a bundle comes from."""
    files = [path for room in ROOMS for path in sorted((PROJECT / room).rglob("*.py"))]
    return json_digest({str(path.relative_to(PROJECT)): file_digest(path) for path in files})
