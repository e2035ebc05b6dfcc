"""``zhiyin dbt``: dbt's own commands, with the environment that the project needs."""

import shlex
from typing import Annotated

import typer

from cli.options import Dataset, chosen_clock, chosen_settings
from zhiyin.warehouse import built_as_of, shell, shell_environment


def dbt(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND...", help="What follows is dbt's own: build -s items+")
    ] = None,
    dev: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Work in a file of your own; what it lacks is read from the warehouse."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="DATE", help="Midnight UTC of this day is now; default: the last build's.")
    ] = None,
    env: Annotated[
        bool, typer.Option("--env", help='Print the environment for a shell: eval "$(zhiyin dbt --env)"')
    ] = False,
    dataset: Dataset = None,
) -> None:
    """Run a dbt command: build, test, show, ls, docs, source freshness. Our own options come before it."""
    settings = chosen_settings(dataset)
    day = as_of or built_as_of(settings)
    if day is None:
        raise typer.BadParameter(f"{settings.warehouse} was not built yet, or is being built; say --as-of DATE")
    clock = chosen_clock(day, settings)
    if env:
        for name, value in shell_environment(settings, clock, dev).items():
            typer.echo(f"export {name}={shlex.quote(value)}")
    elif not arguments:
        raise typer.BadParameter("no dbt command; such as: zhiyin dbt ls")
    else:
        raise typer.Exit(shell(settings, clock, arguments, dev))
