"""What ``zhiyin onboard`` shows: sources, mapping, what is ignored, what is to decide, questions, quality."""

import sys
from collections.abc import Mapping, Sequence

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zhiyin.clock import Clock
from zhiyin.onboarding.deliveries import Delivery
from zhiyin.onboarding.findings import SHOWN, Finding
from zhiyin.onboarding.mapping import Proposal
from zhiyin.onboarding.moments import SourceClock
from zhiyin.onboarding.names import called_money
from zhiyin.onboarding.onboard import Quality
from zhiyin.onboarding.profile import Column, Profile

FEW_JUDGED = 0.02  # of the users: below it a label window of days says little


def show_source(console: Console, table: str, found: Profile) -> None:
    view = Table("column", "type", "empty", "different", "such as", title=f"{table}: {escape(str(found.source))}")
    for column in found.columns:
        kind = column.type if column.decimal is None else f"number, decimals after {column.decimal}"
        empty = f"{column.empty:,} ({column.empty / found.rows:.1%})" if column.empty else "0"
        view.add_row(
            escape(column.name),
            kind,
            empty,
            f"{'' if found.exact else '~'}{column.distinct:,}",
            escape(", ".join(column.samples)[:60]),
        )
    console.print(view)
    console.print(f"{found.rows:,} rows, {found.duplicates:,} of them equal to another", highlight=False)


def show_mapping(
    console: Console, name: str, proposal: Proposal, clock: SourceClock, delivery: Delivery | None
) -> None:
    view = Table("data contract", "column", "because of", title=f"{name}: the mapping, for you to check")
    for table, columns in proposal.columns.items():
        for part, column in columns.items():
            view.add_row(f"{table}.{part}", escape(column.name), proposal.reasons[f"{table}.{part}"])
    if proposal.event_type:
        view.add_row("events.event_type", f"always {proposal.event_type}", proposal.reasons["events.event_type"])
    for value, kind in proposal.event_types.items():
        view.add_row("", escape(f"{value} is {kind}"), "")
    events = proposal.columns["events"]
    if "unit_price" in events and "amount" not in events:
        view.add_row("events.amount", escape(f"pieces x {events['unit_price'].name}"), "the price of a piece")
    if delivery:
        view.add_row("delivery of events", delivery.kind, escape(delivery.reason))
    console.print(view)
    if not proposal.order_only:
        console.print(f"Moments without a zone are taken as {clock.time_zone}.", highlight=False)
    elif "position" in events:
        console.print(f"Positions count from {clock.epoch}, {clock.step} each.", highlight=False)


def show_ignored(console: Console, profiles: Mapping[str, Profile], proposal: Proposal) -> None:
    """The columns that nothing takes, by name; with a hint where they look like money."""
    for table, found in profiles.items():
        ignored = proposal.ignored(table, found)
        if not ignored:
            continue
        names = escape(", ".join(column.name for column in ignored))
        console.print(f"{table}: ignored are {names}", highlight=False)
        money = [column.name for column in ignored if _is_money(column)]
        if money:
            parts = {"events": "amount (of the line) or unit_price (of a piece)", "items": "price"}.get(table)
            hint = f"; --map {table}.PART=COLUMN takes one as {parts}" if parts else ""
            names = escape(", ".join(money))
            console.print(f"  [yellow]of these {names} may be money[/]{escape(hint)}", highlight=False)


def _is_money(column: Column) -> bool:
    """By its name, or by values with one or two decimals."""
    if not column.numeric:
        return False
    sign = column.decimal or "."
    decimals = [sample.rpartition(sign)[2] for sample in column.samples if sign in sample]
    return called_money(column.name) or bool(decimals and all(len(part) <= 2 for part in decimals))


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    if not findings:
        return
    view = Table("what was seen", "the flag that answers", title="for you to decide")
    for finding in findings[:SHOWN]:
        view.add_row(escape(finding.words), escape(finding.flag))
    if len(findings) > SHOWN:
        view.add_row(f"and {len(findings) - SHOWN} more like the last", "")
    console.print(view)


def show_questions(questions: Sequence[str]) -> None:
    number = f"{len(questions)} questions are" if len(questions) > 1 else "1 question is"
    typer.echo(f"zhiyin: {number} open, and nothing was written. Answer by these flags, all in one command:", err=True)
    for question in questions:
        typer.echo(f"- {question}", err=True)
    sys.stderr.flush()


def show_advice(console: Console, advice: Sequence[str]) -> None:
    """What onboarding goes on without, and the flag that settles it."""
    for words in advice:
        console.print(f"[yellow]not settled:[/] {escape(words)}", highlight=False, soft_wrap=True)


def show_quality(console: Console, name: str, clock: Clock, quality: Quality) -> None:
    view = Table("", "", title=f"{name} as of {clock.date}: quality")
    view.add_row("events landed", f"{quality.landed:,}")
    view.add_row("kept", f"{quality.kept:,}")
    view.add_row("duplicates", f"{quality.duplicates:,}")
    for reason, count in quality.quarantined.items():
        view.add_row(f"set aside: {escape(reason)}", f"{count:,}")
    for kind, count in quality.by_type.items():
        view.add_row(f"events of type {kind}", f"{count:,}")
    view.add_row("users", f"{quality.users:,}")
    view.add_row("items with events, of the catalogue", f"{quality.items:,} of {quality.catalogue:,}")
    view.add_row("from", quality.first)
    view.add_row("to", quality.last)
    console.print(view)


def show_next(console: Console, name: str, clock: Clock, proposal: Proposal, quality: Quality) -> None:
    """How to go on, and by which protocol models are judged."""
    if proposal.order_only:
        console.print(
            "The source knows an order and no dates, so models are judged by the last event of every user "
            f"(leave_one_out), not by days: in the last {clock.label_days} 'days' {quality.recent_users:,} of "
            f"{quality.users:,} users have an event. recipe.toml says so.",
            highlight=False,
        )
    elif quality.recent_users < FEW_JUDGED * quality.users:
        console.print(
            f"[yellow]In the last {clock.label_days} days {quality.recent_users:,} of {quality.users:,} users have an "
            f"event: too few to judge models by.[/] Write protocol = 'leave_one_out' to the dataset's recipe.toml: it "
            "judges by the last event of every user.",
            highlight=False,
        )
    console.print(f"Next: zhiyin up --dataset {name} --as-of {clock.date}", highlight=False)
