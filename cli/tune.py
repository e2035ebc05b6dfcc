"""``zhiyin tune``: search for settings of one model on a protocol's validation split."""

from typing import Annotated

import typer
from rich.console import Console

from benchmarks.lab.options import (
    DAYS,
    LEAST,
    TAKE,
    Cut,
    Days,
    Least,
    ProtocolName,
    Take,
    check_protocol,
    choose_protocol,
    progress_of,
)
from cli.options import Dataset, chosen_settings

console = Console()


def tune(
    protocol: ProtocolName,
    model: Annotated[str, typer.Option(metavar="NAME", help="Which model of `zhiyin benchmark`.")],
    trials: Annotated[int, typer.Option(min=1, help="How many in all; those of an earlier call count.")] = 30,
    dataset: Dataset = None,
    cut: Cut = None,
    days: Days = DAYS,
    least: Least = LEAST,
    take: Take = TAKE,
    keep: Annotated[
        bool,
        typer.Option(help="Write figures to benchmarks/lab/studies/, and what is found into the recipe."),
    ] = True,
) -> None:
    """Search for a model's settings on the validation split, never on the test split; an interrupted search resumes."""
    settings = chosen_settings(dataset)

    # Heavy imports only now: `zhiyin --help` needs none of them.
    from benchmarks.lab.leaderboard import make_experiment
    from benchmarks.lab.models import ROWS, search_space
    from benchmarks.lab.tune import tune as search
    from benchmarks.lab.tune import write_study, write_to_recipe
    from benchmarks.lab.tuned import tuned
    from zhiyin.warehouse import current

    check_protocol(protocol, take)
    try:
        if model not in ROWS:
            raise ValueError(f"unknown model {model!r}; known: {', '.join(ROWS)}")
        search_space(model)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    marts = current(settings)
    chosen = choose_protocol(protocol, marts, cut, days, least, take)
    experiment = make_experiment(settings, marts, chosen.protocol, validation=True, progress=progress_of("data"))
    split = f"{settings.dataset}, {chosen.kind}, validation, marts {marts.version}, {len(experiment.split):,} users"
    console.print(f"{model}: {split}", highlight=False)
    today = tuned(experiment.recipe, settings.dataset, chosen.kind, model)
    figures = search(experiment, model, today, trials, settings.studies, split, progress_of(model))
    best, gap = figures["ndcg@10"], figures["best_less_before"]
    console.print(
        f"best of {figures['trials']} trials ({figures['pruned']} stopped early): NDCG@10 {best['mean']:.4f} "
        f"({best['low']:.4f} to {best['high']:.4f}); less today's settings {gap['mean']:+.4f} "
        f"({gap['low']:+.4f} to {gap['high']:+.4f})\nsettings: {figures['settings']}",
        highlight=False,
    )
    if keep:
        recipe = write_to_recipe(experiment.recipe, settings.dataset, model, figures["settings"])
        for path in (write_study(settings.dataset, chosen.kind, model, figures), recipe):
            if path is not None:
                console.print(f"written: {path}", highlight=False, soft_wrap=True)
