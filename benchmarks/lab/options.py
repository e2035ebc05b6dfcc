"""The choice of a protocol: the options that `zhiyin benchmark` and `zhiyin tune` share."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zhiyin.clock import Clock
from zhiyin.contract import MIN_ITEM_INTERACTIONS

if TYPE_CHECKING:
    from training.protocols import Protocol
    from zhiyin.warehouse import Marts

PROTOCOLS = ("next_days", "leave_one_out", "cold_items", "new_items", "cold_users")

ProtocolName = Annotated[str, typer.Option("--protocol", metavar="NAME", help=f"One of: {', '.join(PROTOCOLS)}.")]
Cut = Annotated[
    str | None, typer.Option(metavar="DATE", help="next_days: where the days begin; default: the last ones.")
]
Days = Annotated[int, typer.Option(min=1, help="next_days, cold_users: how many.")]
Least = Annotated[int, typer.Option(min=1, help="next_days: events before the cut that make an item a candidate.")]
Take = Annotated[
    str,
    typer.Option(metavar="all|new|both", help="next_days: what users take, what is new to them, or both."),
]
Known = Annotated[int, typer.Option(min=0, help="cold_users: baskets of theirs that are known.")]
DAYS, LEAST, TAKE, KNOWN = 14, MIN_ITEM_INTERACTIONS, "all", 0


@dataclass(frozen=True)
class ChosenProtocol:
    """A protocol with its options; ``kind``: its name in tables, files and settings."""

    protocol: Protocol
    kind: str


def check_protocol(name: str, take: str) -> None:
    """Refuse a misspelt protocol before anything is loaded."""
    if name not in PROTOCOLS or take not in ("all", "new", "both"):
        raise typer.BadParameter(f"--protocol is one of {', '.join(PROTOCOLS)}; --take is all, new or both")


def choose_protocol(
    name: str, marts: Marts, cut: str | None, days: int, least: int, take: str, known: int = KNOWN
) -> ChosenProtocol:
    """The protocol that the options describe."""
    from training.protocols import ColdItems, ColdUsers, LeaveOneOut, NextDays

    if name == "next_days":
        moment = Clock.parse(cut).as_of if cut else marts.as_of - timedelta(days=days)
        kind = f"{name}_new" if take == "new" else f"{name}_all"
        return ChosenProtocol(NextDays(moment, days, take != "new", least), kind)
    if name == "cold_users":
        return ChosenProtocol(ColdUsers(known, days=days), f"{name}_{known}")
    if name == "leave_one_out":
        return ChosenProtocol(LeaveOneOut(), name)
    return ChosenProtocol(ColdItems(alone=name == "cold_items"), name)


def progress_of(name: str) -> Any:
    """Progress on one line of stderr: rewritten on a terminal, every fourth in a log."""
    last: dict[str, Any] = {"share": -1.0, "step": ""}

    def tell(step: str, done: float, note: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{name}: {step} {done:4.0%} {note}")
            if done >= 1:
                sys.stderr.write("\r\x1b[K")
        elif step != last["step"] or done - last["share"] >= 0.25 or done >= 1:
            last.update(share=done, step=step)
            sys.stderr.write(f"{name}: {step} {done:4.0%} {note}\n")
        sys.stderr.flush()

    return tell
