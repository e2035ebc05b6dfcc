"""The review of one run: its reports as HTML and in the workspace, a summary as JSON, and the page with links."""

from pathlib import Path
from typing import Any

from evidently.core.report import Snapshot

from monitoring import evidence, frames
from monitoring.page import review_page
from monitoring.workspace import keep_runs
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, write_json
from zhiyin.warehouse import current

SUMMARY = "summary.json"
INDEX = "index.html"


def report(
    settings: Settings,
    clock: Clock,
    evaluation: dict[str, Any] | None = None,
    audit: dict[str, Any] | None = None,
) -> dict[str, Path]:
    """Write the reports of ``clock.as_of`` into ``settings.reports/<date>`` and the Evidently workspace.

    The 28 days before ``as_of`` are compared with the 28 before those: interactions directly, users and items by their
    states. Reports of the same date are replaced.

    Args:
        evaluation: the leaderboard of the run's challenger, if there is one. Its
            ``lists_file`` (user_id, item_id, rank, score) and ``truth_file`` (user_id, item_id), both Parquet, make the
            ranking report.
        audit: what ``monitoring.audit`` found in the champion's sentences, if there is a champion.

    Returns:
        Paths by name: ``index``, ``summary`` and one for each HTML report, such as ``users_drift``.

    Raises:
        FileNotFoundError: no marts are published, or no states were read for ``as_of``.
        ValueError: the published marts have another ``as_of``, or a lists file lacks a column.
    """
    marts = current(settings)
    if marts.as_of != clock.as_of:
        raise ValueError(f"{marts.folder} is as of {marts.as_of:%Y-%m-%d}, the review as of {clock.date}; publish it")
    states = settings.states / clock.date
    if not states.is_dir():
        raise FileNotFoundError(f"{states}: no states; read the features as of {clock.date} first")

    comparisons = [
        frames.interactions(settings, clock, marts),
        frames.states(settings, clock, states / "users.parquet"),
        frames.states(settings, clock, states / "items.parquet"),
    ]
    snapshots: dict[str, Snapshot] = {}
    summary: dict[str, Any] = {
        "dataset": settings.dataset,
        "as_of": clock.as_of.isoformat(),
        "marts": marts.version,
        "windows": [[moment.strftime("%Y-%m-%d") for moment in window] for window in frames.windows(clock)],
        "volumes": frames.volumes(settings, clock, marts),
        "quarantined": frames.quarantined(settings, clock, marts),
        "drift": {},
        "left_out": {data.name: data.left_out for data in comparisons},
        "ranking": None,
        "evaluation": evaluation,
        "audit": audit,
    }
    for data in comparisons:
        snapshots[f"{data.name}_quality"] = evidence.quality(clock, data)
        if data.has_reference:
            snapshots[f"{data.name}_drift"] = drift = evidence.drift(clock, data)
            summary["drift"][data.name] = evidence.drifted_columns(drift)
    lists, truth = ((evaluation or {}).get(name) for name in ("lists_file", "truth_file"))
    if lists and truth:
        snapshots["lists_ranking"] = ranking = evidence.ranking(settings, clock, Path(lists), Path(truth))
        users = evidence.evaluated_users(Path(truth))
        summary["ranking"] = {"users": users, "k": evidence.K, **evidence.ranking_figures(ranking)}

    keep_runs(settings, clock, snapshots)
    return _write(settings.reports / clock.date, snapshots, summary)


def _write(folder: Path, snapshots: dict[str, Snapshot], summary: dict[str, Any]) -> dict[str, Path]:
    paths = {name: folder / f"{name}.html" for name in snapshots}
    for name, snapshot in snapshots.items():
        with atomic_file(paths[name]) as temporary:
            snapshot.save_html(str(temporary))
    write_json(folder / SUMMARY, summary)
    others = sorted(path.name for path in folder.glob("leaderboard-*.html"))
    with atomic_file(folder / INDEX) as temporary:
        temporary.write_text(review_page(summary, [path.name for path in paths.values()], others))
    return {"index": folder / INDEX, "summary": folder / SUMMARY, **paths}
