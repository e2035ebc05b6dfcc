"""``zhiyin``: start and stop the servers, run the pipeline, print a list."""

import json
import logging
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.audit import audit
from cli.benchmark import benchmark
from cli.champion import history, lift_hold, release, rollback, say_champion
from cli.dbt import dbt
from cli.environment import PATIENT, QUIET
from cli.errors import PlatformError
from cli.key import key
from cli.onboard import onboard
from cli.options import AsOf, Dataset, chosen_clock, chosen_settings
from cli.platform import DEMO_AS_OF, Platform
from cli.runs import Runs
from cli.servers import ServerError
from cli.status import facts_of
from cli.tune import tune
from pipeline.airflow_api import AirflowError
from pipeline.steps import STEPS, run_step
from zhiyin.warehouse import BusyError, DbtError

app = typer.Typer(
    help="Zhiyin: from a raw behaviour log and a catalogue to a live, explained, personalised recommender.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()


@app.command()
def up(
    as_of: Annotated[
        str | None, typer.Option(metavar="DATE", help="Run the pipeline for this day first, unless it has been.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help=f"The same as --as-of {DEMO_AS_OF}.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Check that the service answers, then stop everything.")] = False,
    dataset: Dataset = None,
) -> None:
    """Start Airflow, the service and the reports, and stay until Ctrl-C, which stops them all."""
    settings = chosen_settings(dataset)
    day = DEMO_AS_OF if demo else as_of
    Platform(settings, console).up(chosen_clock(day, settings) if day else None, once)


@app.command()
def run(
    as_of: AsOf,
    release: Annotated[bool, typer.Option("--release", help="Lift the hold of a rollback first.")] = False,
    dataset: Dataset = None,
) -> None:
    """Trigger the DAG for one day on the running Airflow, and follow it."""
    settings = chosen_settings(dataset)
    clock = chosen_clock(as_of, settings)
    if release:
        lift_hold(settings, "for the run of " + clock.date, console)
    Runs(settings, console).run(clock)


@app.command()
def backfill(
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="The first day.")],
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="The last day.")],
    again: Annotated[bool, typer.Option("--again", help="Repeat days that were run before.")] = False,
    dataset: Dataset = None,
) -> None:
    """Run the DAG for every scheduled day of a range on the running Airflow, one day after the other."""
    settings = chosen_settings(dataset)
    Runs(settings, console).backfill(chosen_clock(first, settings), chosen_clock(last, settings), again)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False, dataset: Dataset = None
) -> None:
    """State and address of each server, the champion, what is on hold, the gate's last decision, and the last run."""
    facts = facts_of(chosen_settings(dataset), console)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table("server", "state", "address")
    for name, server in facts["servers"].items():
        table.add_row(name, server["state"], server["url"] or "")
    console.print(table)
    say_champion(facts, console)
    last = facts["last_run"]
    console.print(f"last run: {last['run_id']}, {last['state']}" if last else "last run: none known (is Airflow up?)")


@app.command()
def down(dataset: Dataset = None) -> None:
    """Stop every process that `zhiyin up` started."""
    stopped = Platform(chosen_settings(dataset), console).down()
    console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def recommend(user: str, k: Annotated[int, typer.Option("-k", min=1, max=100)] = 10, dataset: Dataset = None) -> None:
    """Print the champion's list for one user (by your own user id), with reasons."""
    from cli.recommend import recommend_for

    slate = recommend_for(chosen_settings(dataset), user, k)
    table = Table("rank", "item", "title", "score", "reason", title=f"user {user}")
    for item in slate.items:
        table.add_row(str(item.rank), item.item_id, item.title, f"{item.score:.3f}", item.reason)
    console.print(table)
    if slate.missing:
        console.print(f"missing: {', '.join(slate.missing)}")


@app.command()
def forget(
    user: Annotated[str, typer.Argument(help="Your own id of the user.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say where the user is found; change nothing.")] = False,
    dataset: Dataset = None,
) -> None:
    """Erase one user from all stored data, keep the user from landing again, and check by a search."""
    from cli.forget import forget_user

    forget_user(chosen_settings(dataset), user, dry_run, console)


@app.command()
def step(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(STEPS)}.")],
    as_of: AsOf,
    dataset: Dataset = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Of land: take a delivery with fewer rows, go on without lost files.")
    ] = False,
) -> None:
    """Run one step of the pipeline by hand: the same function that the DAG's task calls."""
    if name not in STEPS:
        raise typer.BadParameter(f"unknown step {name!r}; one of: {', '.join(STEPS)}")
    settings = chosen_settings(dataset)
    if accept_loss:
        settings = settings.model_copy(update={"accept_loss": True})
    result = run_step(name, settings, chosen_clock(as_of, settings))
    console.print(f"{name}: {result}" if result is not None else f"{name}: done", highlight=False)


for command in (rollback, release, history):
    app.command()(command)
app.command()(onboard)
app.command()(audit)
app.command()(benchmark)
app.command()(tune)
app.add_typer(key, name="key")
app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(dbt)


def main() -> None:
    """Entry point: a user error ends in a message instead of a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("httpx", "httpcore", "faiss"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.update(QUIET | PATIENT)
    try:
        app()
    except (AirflowError, ServerError, PlatformError, BusyError, DbtError, FileNotFoundError, ValueError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]zhiyin:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
