"""The registry: which bundle is champion, how it came to be, and what may not come back.

``champion.json`` is a flat pointer for whoever serves; ``history.jsonl`` holds every move; all else follows from it.
"""

from zhiyin.registry.challengers import (
    challenger,
    last_decision,
    link_run,
    nominate,
    record_decision,
    record_refit,
    refit_of,
    run_of,
)
from zhiyin.registry.champion import champion, promote, release, rollback
from zhiyin.registry.decision import Check, Decision
from zhiyin.registry.history import read_history
from zhiyin.registry.lineage import hold_of, holds, reference, standing, start_of

__all__ = [
    "Check",
    "Decision",
    "challenger",
    "champion",
    "hold_of",
    "holds",
    "last_decision",
    "link_run",
    "nominate",
    "promote",
    "read_history",
    "record_decision",
    "record_refit",
    "reference",
    "refit_of",
    "release",
    "rollback",
    "run_of",
    "standing",
    "start_of",
]
