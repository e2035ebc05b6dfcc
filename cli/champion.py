"""``zhiyin rollback``, ``release`` and ``history``: the champion, its moves, and the lineages on hold."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.options import Dataset, chosen_settings
from zhiyin import registry
from zhiyin.settings import Settings

console = Console()

Reason = Annotated[str, typer.Option(metavar="WORDS", help="Why, for the history.")]
NO_REASON = "no reason given"


def rollback(reason: Reason = NO_REASON, dataset: Dataset = None) -> None:
    """Make the previous champion the champion again, and hold back the lineage of the one that was taken back."""
    settings = chosen_settings(dataset)
    pointer = registry.rollback(settings, reason)
    held = registry.holds(settings)[-1]
    console.print(f"champion is now {pointer['digest'][:12]}, promoted as of {pointer['promoted_at_as_of'][:10]}")
    console.print(
        f"on hold: {held.digest[:12]} and what goes on from it; the next run starts from the champion. "
        "`zhiyin release` lifts the hold.",
        soft_wrap=True,
    )


def release(reason: Reason = NO_REASON, dataset: Dataset = None) -> None:
    """Lift the hold of every rollback: what was taken back may be promoted again."""
    lift_hold(chosen_settings(dataset), reason, console)


def lift_hold(settings: Settings, reason: str, console: Console) -> None:
    """Release, and say what was on hold."""
    lifted = registry.release(settings, reason)
    names = ", ".join(hold.digest[:12] for hold in lifted)
    console.print(f"no longer on hold: {names}" if lifted else "nothing was on hold")


def history(
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON list, with all figures.")] = False,
    dataset: Dataset = None,
) -> None:
    """Every move of the champion pointer: when, by whom, why, and what the gate measured."""
    entries = registry.read_history(chosen_settings(dataset))
    if as_json:
        typer.echo(json.dumps(entries, indent=2))
        return
    table = Table("number", "action", "champion", "as of", "at", "by", "against the champion", "reason")
    for entry in entries:
        table.add_row(*map(escape, _row(entry)))
    console.print(table)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    gap = ((entry.get("gate") or {}).get("checks") or {}).get("champion")
    gained = f"{gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})" if gap else ""
    actor = entry["airflow_run_id"] or entry["actor"] or "unknown"
    number, action, digest, day = str(entry["number"]), entry["action"], entry["digest"][:12], entry["as_of"][:10]
    return number, action, digest, day, entry["at"] or "unknown", actor, gained, entry["reason"]


def say_champion(facts: dict[str, Any], console: Console) -> None:
    """The champion, what is on hold and the gate's last decision, from ``cli.status.facts_of``."""
    champion, decision = facts["champion"], facts["last_decision"]
    day = champion["promoted_at_as_of"][:10] if champion else None
    console.print(f"champion: {champion['digest'][:12]}, promoted as of {day}" if champion else "champion: none")
    for hold in facts["hold"]:
        words = f"on hold: {hold['digest'][:12]}, rolled back at {hold['at']} by {hold['actor']} ({hold['reason']})"
        console.print(escape(words), soft_wrap=True)
    if decision:
        answer = "promote" if decision["promote"] else "refuse, for it " + "; ".join(decision["refusals"])
        words = f"last decision: as of {decision['as_of'][:10]}, challenger {decision['challenger'][:12]}: {answer}"
        console.print(escape(words), soft_wrap=True)
