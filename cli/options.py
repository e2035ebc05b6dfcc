"""Options that most commands share, and the settings and clock that they choose."""

from typing import Annotated

import typer

from zhiyin.clock import Clock
from zhiyin.landing import check_dataset
from zhiyin.recommender.recipe import run_clock
from zhiyin.settings import Settings, get_settings

AsOf = Annotated[str, typer.Option(metavar="DATE", help="Midnight UTC of this day is now: later events do not exist.")]
Dataset = Annotated[str | None, typer.Option(metavar="NAME", help="Which dataset; default: ZHIYIN_DATASET.")]


def chosen_settings(dataset: str | None = None) -> Settings:
    """The settings, with another dataset where one is named."""
    settings = get_settings(dataset)
    try:
        check_dataset(settings.dataset)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return settings


def chosen_clock(as_of: str, settings: Settings) -> Clock:
    """The clock of the day that an option names."""
    try:
        return run_clock(settings, as_of)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
