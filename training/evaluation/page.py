"""The leaderboard as one self-contained HTML page."""

from collections.abc import Iterable
from html import escape
from typing import Any

from training.evaluation.gate import WHOLE

COLUMNS = {
    "ndcg@10": "NDCG",
    "recall@10": "Recall",
    "precision@10": "Precision",
    "f1@10": "F1",
    "hit_rate@10": "Hit rate",
    "mrr@10": "MRR",
    "map@10": "MAP",
    "auc": "AUC per user",
}
MORE = {
    "ndcg@5": "NDCG at 5",
    "ndcg@20": "NDCG at 20",
    "recall@20": "Recall at 20",
    "novelty": "Novelty, bits",
    "diversity": "Diversity",
    "popularity_lift": "Popularity lift",
    "miscalibration": "Miscalibration",
}
STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #888; --accent: #0a7d5a; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 3rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 0; }
p { color: var(--soft); margin: .4rem 0 1.6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .5rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
small { display: block; color: var(--soft); font-size: .75rem; }
tr.whole td { font-weight: 650; color: var(--accent); } tr.whole small { font-weight: 400; }
"""


def leaderboard_page(report: dict[str, Any]) -> str:
    """HTML of what ``evaluate`` returns."""
    models = sorted(report["models"].items(), key=lambda entry: -entry[1]["ndcg@10"]["mean"])
    body = "\n".join(_row(name, facts, report["differences"].get(name)) for name, facts in models)
    more = "\n".join(_cells(name, (_figure(facts[figure]) for figure in MORE)) for name, facts in models)
    names = [name for name, _ in models]
    sliced = "\n".join(_slice(name, facts, names) for name, facts in report["slices"].items())
    start, end = (moment[:10] for moment in report["window"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Leaderboard {start} to {end}</title><style>{STYLE}</style></head><body>
<h1>Leaderboard at {report["k"]}</h1>
<p>Bundle {escape(report["bundle"][:12])}. What {report["users"]:,} users bought from {start} until {end} (not
included): {report["pairs"]:,} user and item pairs among {report["candidates"]:,} candidates. In small: 95 % bootstrap
intervals over users. The last column is the paired difference in NDCG of the whole from the row: where lists keep
places for discoveries, of the lists that keep none, since no other model keeps any.</p>
<table><thead><tr><th>Model</th>{_heads(COLUMNS.values())}<th>Coverage</th><th>Whole, paired</th></tr></thead>
<tbody>
{body}
</tbody></table>
<h2>Shorter and longer lists, and what lists are like</h2>
<p>Novelty: self-information of the items. Diversity: unlikeness of their texts. Popularity lift: buyers of the list's
items to those of the user's own. Miscalibration: divergence of the list's categories from the history's; 0 is best.</p>
<table><thead><tr><th>Model</th>{_heads(MORE.values())}</tr></thead>
<tbody>
{more}
</tbody></table>
<h2>Slices, NDCG at {report["k"]}</h2>
<p>Of some users alone, or of some items: what was bought of others then counts for nothing.</p>
<table><thead><tr><th>Slice</th><th>Users</th><th>Of all pairs</th>{_heads(map(_label, names))}</tr></thead>
<tbody>
{sliced}
</tbody></table>
{_lag(report)}{_reliability(report)}</body></html>
"""


def _lag(report: dict[str, Any]) -> str:
    """What fresh generators are worth: the reason why a bundle is fitted again to the last day."""
    if not (lag := report.get("lag")):
        return ""
    gap = lag["fresh_less_stale"]
    days, stale, fresh = f"{lag['days']} days", lag["stale"]["mean"], lag["fresh"]["mean"]
    return (
        f"<h2>Fresh against {days} stale</h2><p>The same rankers over generators that end {days} before the window:"
        f" NDCG at {report['k']} {stale:.4f} instead of {fresh:.4f}; paired {gap['mean']:+.4f} ({gap['low']:+.4f} to"
        f" {gap['high']:+.4f}); {lag['users']:,} users.</p>"
    )


def _reliability(report: dict[str, Any]) -> str:
    if not (measured := report.get("reliability")):
        return ""
    parts = [f"<h2>Reliability of the probabilities</h2><p>Of {measured['users']:,} users, buying or not.</p>"]
    for kind in ("listed", "candidates"):
        facts = measured[kind]
        if not facts["rows"]:
            continue
        bins = "".join(
            f"<tr><td>{row['rows']:,}</td><td>{row['promised']:.4f}</td><td>{row['came']:.4f}</td></tr>"
            for row in facts["table"]
        )
        parts.append(
            f"<h3>{kind.capitalize()}</h3><p>Brier score {facts['brier']:.4f} (the base rate for all:"
            f" {facts['brier_of_base_rate']:.4f}), expected calibration error {facts['ece']:.4f}.</p>"
            f"<table><thead><tr><th>Rows</th><th>Promised</th><th>Came</th></tr></thead><tbody>{bins}</tbody></table>"
        )
    return "\n".join(parts)


def _row(name: str, facts: dict[str, Any], gap: dict[str, float] | None) -> str:
    paired = "" if gap is None else f"{gap['mean']:+.4f}<small>{gap['low']:+.4f} to {gap['high']:+.4f}</small>"
    cells = [_figure(facts[figure]) for figure in COLUMNS]
    return _cells(name, [*cells, f"{facts['coverage@10']:.1%}", paired])


def _slice(name: str, facts: dict[str, Any], models: list[str]) -> str:
    label = f"{escape(name)}<small>{escape(facts['meaning'])}</small>"
    shown = [_figure(facts["models"][model]) if facts["users"] else "–" for model in models]
    cells = "".join(f"<td>{cell}</td>" for cell in shown)
    return f"<tr><td>{label}</td><td>{facts['users']:,}</td><td>{facts['answer_share']:.1%}</td>{cells}</tr>"


def _cells(model: str, cells: Iterable[str]) -> str:
    kind = ' class="whole"' if model == WHOLE else ""
    return f"<tr{kind}><td>{_label(model)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _heads(titles: Iterable[str]) -> str:
    return "".join(f"<th>{title}</th>" for title in titles)


def _label(model: str) -> str:
    return escape(model.replace("_", " "))


def _figure(value: dict[str, float]) -> str:
    return f"{value['mean']:.4f}<small>{value['low']:.3f} to {value['high']:.3f}</small>"
