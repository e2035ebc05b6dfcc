"""The leaderboard as one self-contained HTML page."""

from html import escape
from typing import Any

COLUMNS = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "hit_rate": "Hit rate",
    "mrr": "MRR",
    "map": "MAP",
    "gauc": "AUC per user",
}
STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #888; --accent: #0a7d5a; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 3rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0; } p { color: var(--soft); margin: .4rem 0 1.6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .5rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
small { display: block; color: var(--soft); font-size: .75rem; }
tr.whole td { font-weight: 650; color: var(--accent); } tr.whole small { font-weight: 400; }
"""


def leaderboard_page(report: dict[str, Any]) -> str:
    """HTML of what ``evaluate`` returns."""
    models = sorted(report["models"].items(), key=lambda entry: -entry[1]["ndcg"]["mean"])
    body = "\n".join(_row(name, facts, report["differences"].get(name)) for name, facts in models)
    heads = "".join(f"<th>{title}</th>" for title in COLUMNS.values())
    start, end = (moment[:10] for moment in report["window"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Leaderboard {start} to {end}</title><style>{STYLE}</style></head><body>
<h1>Leaderboard at {report["k"]}</h1>
<p>Bundle {escape(report["bundle"][:12])}. What {report["users"]:,} users bought from {start} until {end} (not
included): {report["pairs"]:,} user and item pairs among {report["candidates"]:,} candidates. In small: 95 % bootstrap
intervals over users. The last column is the paired difference in NDCG of the whole from the row.</p>
<table><thead><tr><th>Model</th>{heads}<th>Coverage</th><th>Whole, paired</th></tr></thead>
<tbody>
{body}
</tbody></table>
{_reliability(report)}</body></html>
"""


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
    cells = "".join(f"<td>{_figure(facts[metric])}</td>" for metric in COLUMNS)
    paired = "" if gap is None else f"{gap['mean']:+.4f}<small>{gap['low']:+.4f} to {gap['high']:+.4f}</small>"
    kind = ' class="whole"' if gap is None else ""
    label = escape(name.replace("_", " "))
    return f"<tr{kind}><td>{label}</td>{cells}<td>{facts['coverage']:.1%}</td><td>{paired}</td></tr>"


def _figure(value: dict[str, float]) -> str:
    return f"{value['mean']:.4f}<small>{value['low']:.3f} to {value['high']:.3f}</small>"
