"""``zhiyin onboard``: from a company's files to a dataset that the pipeline runs on."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from zhiyin.clock import Clock
from zhiyin.onboarding.mapping import Proposal, UnclearError
from zhiyin.onboarding.moments import SourceClock
from zhiyin.onboarding.onboard import Quality, look, run, write
from zhiyin.onboarding.profile import Profile
from zhiyin.recommender.recipe import run_clock
from zhiyin.settings import DATASETS, Settings, get_settings
from zhiyin.warehouse import DbtError

console = Console()

Place = Annotated[
    str,
    typer.Option(metavar="WHERE", help="A file, a glob, a URL, or KIND:CONNECTION#TABLE (postgres, mysql, sqlite)."),
]


def onboard(
    name: Annotated[str, typer.Argument(help="The dataset's name: lower-case letters, digits and underscores.")],
    events: Place,
    items: Place,
    users: Annotated[str | None, typer.Option(metavar="WHERE", help="The same, of users' attributes.")] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="TABLE.PART=COLUMN", help="Which column is what, such as events.user_id=cust_no."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE.NAME=VALUE", help="Of DuckDB's reader, such as events.delim=';'."),
    ] = None,
    time_format: Annotated[str | None, typer.Option(help="How moments are written, as for strptime.")] = None,
    time_zone: Annotated[str, typer.Option(help="Zone of moments that carry none.")] = "UTC",
    epoch: Annotated[str, typer.Option(help="Where positions begin, in data that knows an order only.")] = "2000-01-01",
    step: Annotated[str, typer.Option(help="Time from one position to the next.")] = "1 day",
    as_of: Annotated[
        str | None, typer.Option(metavar="DATE", help="Default: the midnight after the last event.")
    ] = None,
) -> None:
    """Profile a company's files, write the staging models that map them to the data contract, land and build them."""
    places = {"events": events, "items": items} | ({"users": users} if users else {})
    settings = Settings(**(get_settings().model_dump() | {"dataset": name}))
    try:
        clock = SourceClock(time_format, time_zone, epoch, step)
        if as_of is not None:
            as_of = run_clock(settings, as_of).date
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        profiles = look(settings, places, _pairs(option, "--option"))
        for table, found in profiles.items():
            _show_source(table, found)
        proposal = write(name, profiles, _pairs(mapping, "--map"), clock)
    except (UnclearError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from None
    _show_mapping(name, proposal, clock)
    try:
        built, quality = run(settings, as_of)
    except (DbtError, ValueError) as error:
        raise ValueError(
            f"{error}\nThe models are in {DATASETS / name}: edit them, then run\n"
            f"  zhiyin step land --dataset {name} --as-of DATE\n  zhiyin step build --dataset {name} --as-of DATE"
        ) from None
    _show_quality(name, built, quality)


def _pairs(values: list[str] | None, flag: str) -> dict[str, str]:
    pairs = {}
    for value in values or []:
        key, separator, said = value.partition("=")
        if not separator or "." not in key:
            raise typer.BadParameter(f"{flag} {value}: write TABLE.NAME=VALUE")
        pairs[key] = said
    return pairs


def _show_source(table: str, found: Profile) -> None:
    view = Table("column", "type", "empty", "different", "such as", title=f"{table}: {found.source}")
    for column in found.columns:
        view.add_row(
            column.name, column.type, f"{column.nulls:.1%}", f"{column.distinct:,}", ", ".join(column.samples)[:60]
        )
    console.print(view)
    console.print(f"{found.rows:,} rows, {found.duplicates:,} of them equal to another", highlight=False)


def _show_mapping(name: str, proposal: Proposal, clock: SourceClock) -> None:
    view = Table("data contract", "column", "because of", title=f"{name}: the mapping, for you to check")
    for table, columns in proposal.columns.items():
        for part, column in columns.items():
            view.add_row(f"{table}.{part}", column.name, proposal.reasons[f"{table}.{part}"])
    if proposal.event_type:
        view.add_row("events.event_type", f"always {proposal.event_type}", proposal.reasons["events.event_type"])
    for value, kind in proposal.event_types.items():
        view.add_row("", f"{value} is {kind}", "")
    console.print(view)
    if "occurred_at" in proposal.columns["events"]:
        console.print(f"Moments without a zone are taken as {clock.time_zone}.", highlight=False)
    else:
        console.print(f"Positions count from {clock.epoch}, {clock.step} each.", highlight=False)
    console.print(f"The models are in {DATASETS / name}.", highlight=False)


def _show_quality(name: str, clock: Clock, quality: Quality) -> None:
    view = Table("", "", title=f"{name} as of {clock.date}: quality")
    view.add_row("events landed", f"{quality.landed:,}")
    view.add_row("kept", f"{quality.kept:,}")
    view.add_row("duplicates", f"{quality.duplicates:,}")
    for reason, count in quality.quarantined.items():
        view.add_row(f"set aside: {reason}", f"{count:,}")
    for kind, count in quality.by_type.items():
        view.add_row(f"{kind}s", f"{count:,}")
    view.add_row("users", f"{quality.users:,}")
    view.add_row("items with events, of the catalogue", f"{quality.items:,} of {quality.catalogue:,}")
    view.add_row("from", quality.first)
    view.add_row("to", quality.last)
    console.print(view)
    console.print(f"Next: zhiyin up --dataset {name} --as-of {clock.date}", highlight=False)
