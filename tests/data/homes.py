"""The two moments at which the tests' home publishes, and what it looks like afterwards."""

from dataclasses import dataclass
from pathlib import Path

from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.warehouse import Marts

# A build on the way to the one that is looked at: its data are tested there.
WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
EARLY, LATE = Clock.parse("2017-05-01"), Clock.parse("2017-07-01")


@dataclass(frozen=True)
class Warehouse:
    """A home whose lake and warehouse stand at ``LATE``, and which published ``EARLY`` twice on the way there."""

    settings: Settings
    early: Path  # published as of EARLY when the lake ended there
    again: Path  # published as of EARLY, built anew from a lake that held the later days too
    marts: Marts  # published as of LATE
