"""``zhiyin benchmark``: baselines, peers and ours on one split of a protocol, in one table."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

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
        bool, typer.Option("--validation", help="The question before: settings are chosen on this one.")
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
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Every figure, as JSON.")] = None,
) -> None:
    """Fit baselines, peers and ours on the same split of the published marts, and compare their lists."""
    settings = chosen_settings(dataset)
    try:
        overrides = _overrides(sets or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None

    # Heavy imports only now: `zhiyin --help` needs none of them.
    from benchmarks.lab.leaderboard import evaluate_model, export_lists, export_scores, make_experiment, summarise
    from benchmarks.lab.models import MODELS
    from benchmarks.lab.tuned import NETWORK, tuned
    from benchmarks.peers.environment import PeersMissingError, peer_python
    from benchmarks.peers.rectools import RECTOOLS
    from training.evaluation.gate import WHOLE
    from training.protocols import NextDays
    from zhiyin.store import write_json
    from zhiyin.warehouse import current

    # What knows items by their ids alone has nothing to say of cold ones, and there the whole has no ranker. RecTools'
    # models answer users of their log alone.
    unasked = {"cold_items": (*RECTOOLS, NETWORK), "cold_users": RECTOOLS}
    asked_of = [name for name in MODELS if name not in unasked.get(protocol, ())]
    chosen = models.split(",") if models else asked_of
    if unknown := [name for name in (*chosen, *overrides) if name not in MODELS]:
        raise typer.BadParameter(f"unknown model {unknown[0]!r}; known: {', '.join(MODELS)}")
    check_protocol(protocol, take)
    try:
        if set(chosen) & set(RECTOOLS):
            peer_python("rectools")
    except PeersMissingError as missing:
        if models:
            raise
        chosen = [name for name in chosen if name not in RECTOOLS]
        errors.print(f"without {' and '.join(RECTOOLS)}: {missing}", highlight=False)
    marts = current(settings)
    question = choose_protocol(protocol, marts, cut, days, least, take, known)
    asked, kind = question.protocol, question.kind
    options = {name: tuned(settings.dataset, kind, name) | overrides.get(name, {}) for name in chosen}
    earlier = options[WHOLE].get("questions", 1) if WHOLE in chosen else 0
    experiment = make_experiment(settings, marts, asked, validation, progress_of("data"), earlier)
    split = experiment.split
    title = (
        f"{settings.dataset}, {kind}{', validation' if validation else ''}: {len(split):,} users, "
        f"{len(split.true_item):,} pairs, {int(split.candidates.sum()):,} candidates"
    )
    console.print(title, highlight=False)
    judged = {}
    for name in chosen:
        experiment = replace(experiment, context=replace(experiment.context, progress=progress_of(name)))
        judged[name] = evaluate_model(experiment, name, options[name], sample if scores else 0)
        figure = float(judged[name].values["ndcg@10"].mean())
        errors.print(f"{name}: NDCG@10 {figure:.4f}, fit in {judged[name].seconds:.1f} s", highlight=False)
    facts = summarise(judged, experiment)
    _show(title, facts)
    report = {
        "dataset": settings.dataset,
        "protocol": kind,
        "cut": asked.cut.isoformat() if isinstance(asked, NextDays) else None,
        "validation": validation,
        "marts": marts.version,
        "users": len(split),
        "pairs": len(split.true_item),
        "candidates": int(split.candidates.sum()),
        "seed": settings.seed,
        "threads": settings.threads,
        "settings": options,
        "text": {name: getattr(settings, name) for name in ("text_encoder", "text_tuning", "text_layers")},
        **facts,
    }
    target = json_file or settings.reports / f"benchmark-{kind}{'-validation' if validation else ''}.json"
    write_json(target, report)
    written = [target]
    if export or scores:
        from cli.identifiers import raw_users

        raw = raw_users(settings)
        for path, write in ((export, export_lists), (scores, export_scores)):
            if path is not None:
                write(path, judged, experiment, raw)
                written.append(path)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False, soft_wrap=True)


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
    console.print("* not every item is scored; those without a score tie behind the others", highlight=False)
