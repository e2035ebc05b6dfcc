"""``zhiyin onboard``: from a company's files to a dataset that the pipeline runs on."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from cli import onboard_tables as tables
from zhiyin.onboarding.mapping import UnclearError
from zhiyin.onboarding.moments import SourceClock
from zhiyin.onboarding.onboard import attempt, look, plan, run
from zhiyin.onboarding.scaffold import write_dataset
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
            "--map",
            metavar="TABLE.PART=COLUMN",
            help="Which column is what, such as events.user_id=cust_no; without a column: none is.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE.NAME=VALUE", help="Of DuckDB's reader, such as events.delim=';'."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE.PART=VALUE",
            help="What to leave out: events.user_id=0000, items=SQL; suggested (all that is proposed); nothing.",
        ),
    ] = None,
    delivery: Annotated[
        str | None,
        typer.Option(
            help="What later deliveries of the events bring: append (new rows), replace (whole days), snapshot."
        ),
    ] = None,
    time_format: Annotated[str | None, typer.Option(help="How moments are written, as for strptime.")] = None,
    time_zone: Annotated[str, typer.Option(help="Zone of moments that carry none.")] = "UTC",
    epoch: Annotated[str, typer.Option(help="Where positions begin, in data that knows an order only.")] = "2000-01-01",
    step: Annotated[str, typer.Option(help="Time from one position to the next.")] = "1 day",
    as_of: Annotated[
        str | None, typer.Option(metavar="DATE", help="Default: the midnight after the last event.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look, map and ask; write nothing.")] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Where landing or the build fails, leave models and data to mend."),
    ] = False,
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
    given, options = _pairs(mapping, "--map"), _pairs(option, "--option")
    try:
        profiles = look(settings, places, options)
    except (UnclearError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from None
    for table, found in profiles.items():
        tables.show_source(console, table, found)
    planned = plan(name, profiles, given, clock, exclude or [], delivery)
    tables.show_mapping(console, name, planned.proposal, clock, planned.delivery)
    tables.show_ignored(console, profiles, planned.proposal)
    tables.show_findings(console, planned.findings)
    if planned.questions or (dry_run and planned.advice):
        tables.show_questions([*planned.questions, *planned.advice])
        sys.exit(2)
    tables.show_advice(console, planned.advice)
    if planned.advice and sys.stdin.isatty():
        typer.confirm("Go on without an answer?", abort=True)
    if dry_run:
        console.print("Nothing is open. This was a dry run: nothing was written.", highlight=False)
        return
    with attempt(settings, keep):
        write_dataset(DATASETS / name, planned.texts)
        console.print(f"The models are in {DATASETS / name}.", highlight=False)
        try:
            built, quality = run(settings, as_of)
        except (DbtError, FileNotFoundError, ValueError) as error:
            raise ValueError(f"{error}\n{_after_failure(name, keep)}") from None
    tables.show_quality(console, name, built, quality)
    tables.show_next(console, name, built, planned.proposal, quality)


def _after_failure(name: str, keep: bool) -> str:
    if not keep:
        return (
            "Nothing of this attempt was kept. With --keep the same command leaves the models and the landed data, for "
            "you to edit and build again."
        )
    return (
        f"The models are in {DATASETS / name}: edit them, then run\n"
        f"  zhiyin step land --dataset {name} --as-of DATE\n  zhiyin step build --dataset {name} --as-of DATE"
    )


def _pairs(values: list[str] | None, flag: str) -> dict[str, str]:
    pairs = {}
    for value in values or []:
        key, separator, said = value.partition("=")
        if not separator or "." not in key:
            raise typer.BadParameter(f"{flag} {value}: write TABLE.NAME=VALUE")
        pairs[key] = said
    return pairs
