"""Exclusions at onboarding: from the flag ``--exclude`` to the block of the source definition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zhiyin.onboarding.mapping import UnclearError
from zhiyin.onboarding.names import NAMES
from zhiyin.store.sql import quote

SUGGESTED, NOTHING = "suggested", "nothing"
ROOMS = {"user_id": "users", "item_id": "items"}  # parts whose values are ids


@dataclass(frozen=True)
class Exclusion:
    """Users, items or events to leave out: by one id, or by SQL over the contract's columns."""

    room: str  # users, items or events
    because: str
    id: str | None = None
    where: str | None = None

    @property
    def flag(self) -> str:
        if self.id is None:
            return f'--exclude "{self.room}={self.where}"'
        part = "events.user_id" if self.room == "users" else "items.item_id"
        return f"--exclude {part}={self.id}" if " " not in self.id else f"--exclude '{part}={self.id}'"


def chosen(flags: Sequence[str], proposed: Sequence[Exclusion]) -> list[Exclusion]:
    """What the flags exclude; a proposed exclusion keeps its reason.

    Raises:
        UnclearError: a flag is of no known form.
    """
    found: dict[Exclusion, None] = {}
    for flag in flags:
        if flag == SUGGESTED:
            found |= dict.fromkeys(proposed)
        elif flag != NOTHING:
            said = _read(flag)
            same = [one for one in proposed if (one.room, one.id, one.where) == (said.room, said.id, said.where)]
            found[same[0] if same else said] = None
    return list(found)


def _read(flag: str) -> Exclusion:
    """``TABLE.PART=VALUE`` or ``TABLE=SQL``."""
    key, separator, value = flag.partition("=")
    table, _, part = key.partition(".")
    if separator and value and part in ROOMS and part in NAMES.get(table, {}):
        return Exclusion(ROOMS[part], f"{ROOMS[part].removesuffix('s')} excluded by id", id=value)
    if separator and value and table in ("events", "items"):
        if not part:
            return Exclusion(table, value, where=value)
        if part in NAMES[table]:
            return Exclusion(table, f"{part} is {value}", where=f"{part} = {quote(value)}")
    raise UnclearError(
        f"--exclude {flag}: write events.user_id=ID, items.item_id=ID, items.PART=VALUE, events.PART=VALUE, "
        f"items=SQL or events=SQL; or {SUGGESTED}, or {NOTHING}"
    )


def block(exclusions: Sequence[Exclusion]) -> Mapping[str, Any]:
    """``meta.exclude`` of the source definition: ids of one reason together."""
    rooms: dict[str, list[dict[str, Any]]] = {}
    for one in exclusions:
        entries = rooms.setdefault(one.room, [])
        if one.where is not None:
            entries.append({"because": one.because, "where": one.where})
            continue
        same = next((entry for entry in entries if entry["because"] == one.because and "ids" in entry), None)
        if same is None:
            entries.append(same := {"because": one.because, "ids": []})
        same["ids"].append(one.id)
    return rooms
