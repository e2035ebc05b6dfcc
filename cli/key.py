"""``zhiyin key``: the key of the pseudonyms."""

from typing import Annotated

import typer
from rich.console import Console

from cli import servers
from cli.errors import PlatformError
from zhiyin.settings import get_settings
from zhiyin.store import sweep
from zhiyin.warehouse import check_idle

key = typer.Typer(help="The key of the pseudonyms.", no_args_is_help=True)
console = Console()


@key.callback()
def _group() -> None:
    """The key of the pseudonyms."""


@key.command()
def rotate(
    drop_unnamed: Annotated[
        bool, typer.Option("--drop-unnamed", help="Remove the lines of users whom the service's logs alone know.")
    ] = False,
) -> None:
    """Change the key: rename users in all data of the home, make the marts and the online store anew, and check."""
    from pipeline.key_rotation import rotate as rotate_key

    settings = get_settings()
    if up := [name for name in ("airflow-api", "service") if servers.running(settings, name)]:
        raise PlatformError(f"{' and '.join(up)} must not run meanwhile: `zhiyin down` first")
    check_idle(settings)
    sweep(settings.home)
    rotate_key(settings, drop_unnamed, lambda words: console.print(words, highlight=False, soft_wrap=True))
