"""``zhiyin benchmark``: baselines, peers and our models on one split of a protocol, in one table."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.lab.options import (
    DAYS,
    KNOWN,
    LEAST,
    TAKE,
    Cut,
    Days,
    Known,
    Least,
    ProtocolName,
    Take,
    check_protocol,
    choose_protocol,
    progress_of,
)
from cli.options import Dataset, chosen_settings
from zhiyin.settings import Settings

if TYPE_CHECKING:
    from benchmarks.lab.run import Run
    from zhiyin.warehouse import Marts

console = Console()
errors = Console(stderr=True)
SHOWN = ("ndcg", "recall", "precision", "f1", "hit_rate", "mrr", "map")


def benchmark(
    protocol: ProtocolName,
    dataset: Dataset = None,
    models: Annotated[str | None, typer.Option(metavar="A,B", help="Some of the models; default: all.")] = None,
    cut: Cut = None,
    days: Days = DAYS,
    least: Least = LEAST,
    take: Take = TAKE,
    known: Known = KNOWN,
    validation: Annotated[
        bool, typer.Option("--validation", help="The split before: settings are chosen on this one.")
    ] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="MODEL.KEY=JSON", help="A setting in place of the tuned one.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The lists, in the dataset's own ids (.parquet or .csv).")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Full scores of a sample of users (.parquet or .csv).")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many users --scores holds.")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, for the mean and the spread of NDCG@10.")] = 1,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="A recipe in place of the dataset's.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Every figure, as JSON.")] = None,
) -> None:
    """Fit baselines, peers and ours on the same split of the published marts, and compare their lists."""
    settings = chosen_settings(dataset)
    try:
        overrides = _overrides(sets or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    check_protocol(protocol, take)
    rows = _rows(protocol, models, overrides)

    # Heavy imports only now: `zhiyin --help` needs none of them.
    from dataclasses import replace

    from benchmarks.lab.leaderboard import export_lists, export_scores, make_experiment
    from benchmarks.lab.run import run
    from benchmarks.lab.tuned import tuned
    from zhiyin.recommender.recipe import read_recipe
    from zhiyin.store import write_json
    from zhiyin.warehouse import current

    marts, found = current(settings), read_recipe(settings.dataset, recipe)
    chosen = choose_protocol(protocol, marts, cut, days, least, take, known)
    experiment = make_experiment(settings, marts, chosen.protocol, validation, progress_of("data"), found)
    experiments = {chosen.kind: experiment}
    if take == "both":
        experiments["next_days_new"] = replace(experiment, split=experiment.split.discoveries())
    options = {
        kind: {name: tuned(found, settings.dataset, kind, name) | overrides.get(name, {}) for name in rows}
        for kind in experiments
    }
    runs = run(experiments, rows, options, seeds, sample if scores else 0, progress_of, _tell)
    for kind, each in runs.items():
        split = each.experiment.split
        about = _about(settings, marts, each, kind, validation)
        _show(
            f"{settings.dataset}, {kind}{', validation' if validation else ''}: {len(split):,} users, "
            f"{len(split.true_item):,} pairs, {int(split.candidates.sum()):,} candidates",
            each.facts,
        )
        target = json_file or settings.reports / f"benchmark-{kind}{'-validation' if validation else ''}.json"
        target = target if len(runs) == 1 or json_file is None else target.with_stem(f"{target.stem}-{kind}")
        write_json(target, about | {"settings": options[kind], "recipe": found.model_dump()} | each.facts)
        written = [target]
        if export or scores:
            from zhiyin.landing.identifiers import raw_users

            raw = raw_users(settings)
            for path, write in ((export, export_lists), (scores, export_scores)):
                if path is not None:
                    path = path if len(runs) == 1 else path.with_stem(f"{path.stem}-{kind}")
                    write(path, each.models, each.experiment, raw)
                    written.append(path)
        console.print(f"written: {', '.join(map(str, written))}", highlight=False, soft_wrap=True)


def _tell(words: str) -> None:
    errors.print(words, highlight=False)


def _rows(protocol: str, models: str | None, overrides: dict[str, Any]) -> list[str]:
    """The models to compare: those named, or all that can answer the protocol."""
    from benchmarks.lab.models import ROWS
    from benchmarks.peers.environment import PeersMissingError, peer_python
    from benchmarks.peers.rectools import RECTOOLS

    # RecTools' models know items only by their ids, and only users of their log.
    left_out = dict.fromkeys(("cold_items", "new_items", "cold_users"), RECTOOLS)
    chosen = models.split(",") if models else [name for name in ROWS if name not in left_out.get(protocol, ())]
    if unknown := [name for name in (*chosen, *overrides) if name not in ROWS]:
        raise typer.BadParameter(f"unknown model {unknown[0]!r}; known: {', '.join(ROWS)}")
    try:
        if set(chosen) & set(RECTOOLS):
            peer_python("rectools")
    except PeersMissingError as missing:
        if models:
            raise
        chosen = [name for name in chosen if name not in RECTOOLS]
        errors.print(f"without {' and '.join(RECTOOLS)}: {missing}", highlight=False)
    return chosen


def _about(settings: Settings, marts: "Marts", each: "Run", kind: str, validation: bool) -> dict[str, Any]:
    """What the figures are of."""
    split, states = each.experiment.split, each.experiment.states
    return {
        "dataset": settings.dataset,
        "protocol": kind,
        "cut": datetime.fromtimestamp(split.log.cut, UTC).isoformat(),
        "validation": validation,
        "marts": marts.version,
        "states": type(states).__name__,
        "users": len(split),
        "pairs": len(split.true_item),
        "candidates": int(split.candidates.sum()),
        "seed": settings.seed,
        "threads": settings.threads,
        "text": {name: getattr(settings, name) for name in ("text_encoder", "text_tuning", "text_layers")},
    }


def _overrides(sets: list[str]) -> dict[str, dict[str, Any]]:
    """``model.key=value`` by model.

    Raises:
        ValueError: not of that form.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in sets:
        name, _, value = text.partition("=")
        model, _, key = name.partition(".")
        if not (model and key and value):
            raise ValueError(f"--set {text}: say MODEL.KEY=VALUE, such as ials.factors=32")
        try:
            found.setdefault(model, {})[key] = json.loads(value)
        except json.JSONDecodeError:
            found.setdefault(model, {})[key] = value
    return found


def _show(title: str, facts: dict[str, Any]) -> None:
    """The table at 10, best first, intervals under the NDCG."""
    table = Table("model", *(f"{name}@10" for name in SHOWN), "AUC", "coverage", title=title)
    like = {"novelty": "novelty", "diversity": "diversity", "popularity_lift": "pop. lift", "miscalibration": "miscal."}
    more = Table("model", "NDCG@5", "NDCG@20", "best less it", *like.values(), "fit s", "peak GB")
    sliced = [name for name in facts["slices"] if not name.startswith("category ")]
    parts = Table("NDCG@10 of", *(f"{name} ({facts['slices'][name]['users']:,})" for name in sliced))
    models = sorted(facts["models"].items(), key=lambda entry: -entry[1]["ndcg@10"]["mean"])
    for name, each in models:
        ndcg = each["ndcg@10"]
        cells = [f"{ndcg['mean']:.4f} ({ndcg['low']:.3f}-{ndcg['high']:.3f})"]
        cells += [f"{each[f'{metric}@10']['mean']:.4f}" for metric in SHOWN[1:]]
        auc = f"{each['auc']['mean']:.3f}" if each["scored"] > 0.999 else f"[dim]{each['auc']['mean']:.3f}*[/]"
        table.add_row(name, *cells, auc, f"{each['coverage@10']:.1%}")
        gap = facts["best_less_other"].get(name)
        paired = f"{gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})" if gap else ""
        beyond = (f"{each[figure]['mean']:.2f}" for figure in like)
        wide = (f"{each[f'ndcg@{k}']['mean']:.4f}" for k in (5, 20))
        took = (f"{each['fit_seconds']:.1f}", f"{each['peak_memory_bytes'] / 1e9:.2f}")
        more.add_row(name, *wide, paired, *beyond, *took)
        parts.add_row(name, *(f"{facts['slices'][part]['models'][name]['mean']:.4f}" for part in sliced))
    wide_console = Console(width=max(console.width, 150))
    wide_console.print(table)
    wide_console.print(more)
    wide_console.print(parts)
    if len(next(iter(facts["seeds"].values()))["ndcg"]) > 1:
        seeds = Table("NDCG@10 by seed", "mean", "spread", "each")
        for name, each in facts["seeds"].items():
            figures = " ".join(f"{figure:.4f}" for figure in each["ndcg"])
            seeds.add_row(name, f"{each['mean']:.4f}", f"{each['spread']:.4f}", figures)
        wide_console.print(seeds)
    console.print("* not every item is scored; those without a score tie behind the others", highlight=False)
