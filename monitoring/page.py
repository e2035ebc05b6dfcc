"""The page of a review: volumes, drift, ranking quality, and links to the reports."""

from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf6; --card: #fff; --ink: #1c1e21; --soft: #6d7075; --line: #e5e1d6;
  --seal: #b3362c; --calm: #2f7d5b; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181a; --card: #1f2123; --ink: #ececea; --soft: #9a9da2;
  --line: #33363a; --seal: #e0685d; --calm: #63b792; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
header { border-left: .3rem solid var(--seal); padding-left: 1.1rem; }
header b { color: var(--seal); font-size: .86rem; letter-spacing: .04em; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 2.6rem 0 .9rem; }
p { margin: 0; color: var(--soft); } p.note { margin-top: .9rem; font-size: .86rem; }
.row { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); }
.row.wide { grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem; }
.card h3 { margin: 0 0 .6rem; font-size: .95rem; display: flex; justify-content: space-between; gap: 1rem; }
.card h3 span { color: var(--soft); font-weight: 400; }
.figure { font-size: 1.6rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.2; }
.label { color: var(--soft); font-size: .86rem; }
.effect { display: grid; grid-template-columns: 1fr auto; gap: .1rem .6rem; font-size: .86rem; padding: .22rem 0; }
.effect b { font-weight: 400; overflow: hidden; text-overflow: ellipsis; }
.effect i { text-align: right; font-style: normal; font-variant-numeric: tabular-nums; color: var(--soft); }
.bar { grid-column: 1 / -1; position: relative; height: .3rem; border-radius: .15rem; background: var(--line); }
.bar span { display: block; height: 100%; border-radius: .15rem; background: var(--calm); }
.bar::after { content: ""; position: absolute; left: 25%; top: -.2rem; bottom: -.2rem; width: 1px;
  background: var(--soft); }
.drifted .bar span { background: var(--seal); } .drifted i { color: var(--seal); font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: right; padding: .4rem .5rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; color: var(--soft); }
tr:first-child td { font-weight: 600; } tr:last-child td { border-bottom: 0; }
a.card { color: inherit; text-decoration: none; display: block; }
a.card:hover, a.card:focus-visible { border-color: var(--seal); }
"""

TITLES = {
    "quality": "Rows, missing values, the distribution of each column",
    "drift": "Each column against the window before",
    "ranking": "Metrics at each rank, some lists row by row",
    "leaderboard": "Models and baselines, with their intervals",
}
FIGURES = {"ndcg": "NDCG", "recall": "Recall", "precision": "Precision", "hit_rate": "Hit rate", "mrr": "MRR"}
SHOWN = 6  # columns named per dataset


def review_page(summary: dict[str, Any], reports: list[str], others: list[str]) -> str:
    """HTML of a review, complete in itself. ``reports`` and ``others`` are file names beside it."""
    (start, end), (before, _) = summary["windows"]
    sections = [
        _section("What happened", "row", [_volume(*entry) for entry in summary["volumes"].items()]),
        _section("What was set aside", "row wide", [_set_aside(summary["quarantined"])]),
        _section("What drifted", "row wide", [_drift(*entry) for entry in summary["drift"].items()] or [_no_drift()]),
        _note(summary["left_out"]),
        _section("How good the lists were", "", [_lists(summary)]),
        _section("Whether the sentences are true", "", [_audit(summary.get("audit"))]),
        _section("Reports", "row wide", [_link(name) for name in [*reports, *others]]),
    ]
    body = "\n".join(sections)
    dataset = escape(summary["dataset"].replace("_", " "))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Review of {dataset}, {end}</title><style>{STYLE}</style></head><body><main>
<header><b>Zhīyīn</b><h1>Review of {dataset}, as of {end}</h1>
<p>{start} until {end} (not included), against the 28 days from {before}</p></header>
{body}
</main></body></html>
"""


def _section(title: str, kind: str, parts: list[str]) -> str:
    return f'<h2>{title}</h2><div class="{kind}">{"".join(parts)}</div>'


def _volume(name: str, values: dict[str, float]) -> str:
    now, then = values["current"], values["reference"]
    change = f"{now / then - 1:+.1%} from {then:,.0f}" if then else "nothing before"
    return (
        f'<div class="card"><div class="label">{escape(name)}</div><div class="figure">{now:,.0f}</div>'
        f'<div class="label">{change}</div></div>'
    )


def _set_aside(reasons: dict[str, list[int]]) -> str:
    if not reasons:
        return '<div class="card"><p>No event of these weeks broke a rule.</p></div>'
    weeks = len(next(iter(reasons.values())))
    head = "".join(f"<th>{'this week' if week == weeks - 1 else week - weeks + 1}</th>" for week in range(weeks))
    body = "".join(
        f"<tr><td>{escape(reason)}</td>{''.join(f'<td>{count:,}</td>' for count in counts)}</tr>"
        for reason, counts in reasons.items()
    )
    table = f"<table><thead><tr><th>events by week</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="card">{table}</div>'


def _drift(name: str, columns: list[dict[str, Any]]) -> str:
    drifted = sum(column["drifted"] for column in columns)
    rows = "".join(_effect(column) for column in columns[:SHOWN])
    return (
        f'<div class="card"><h3>{escape(name.capitalize())} <span>{drifted} of {len(columns)} columns</span></h3>'
        f"{rows}</div>"
    )


def _effect(column: dict[str, Any]) -> str:
    width = min(column["effect"] / column["threshold"] / 4, 1)  # the threshold is at a quarter of the bar
    kind = " drifted" if column["drifted"] else ""
    title = escape(f"{column['column']}: {column['method']}, drift from {column['threshold']:g} on")
    return (
        f'<div class="effect{kind}" title="{title}"><b>{escape(column["column"])}</b>'
        f'<i>{column["effect"]:.3f}</i><div class="bar"><span style="width:{width:.0%}"></span></div></div>'
    )


def _no_drift() -> str:
    return '<div class="card"><p>There is no earlier window to compare with.</p></div>'


def _note(left_out: dict[str, dict[str, str]]) -> str:
    named = "; ".join(
        f"{name}: " + ", ".join(f"{column} ({why})" for column, why in columns.items())
        for name, columns in left_out.items()
        if columns
    )
    text = "Effect sizes, not p-values: Wasserstein distance in standard deviations, Jensen-Shannon distance."
    return f'<p class="note">{text}{" Not compared: " + escape(named) + "." if named else ""}</p>'


def _lists(summary: dict[str, Any]) -> str:
    evaluation, ranking = summary["evaluation"], summary["ranking"]
    models = (evaluation or {}).get("models")
    if models:
        k = evaluation["k"]
        rows = {
            name.replace("_", " "): {key: facts[f"{key}@{k}"]["mean"] for key in FIGURES}
            for name, facts in models.items()
        }
        ordered = sorted(rows.items(), key=lambda row: -row[1]["ndcg"])
        note = f"{evaluation['users']:,} users, lists of {evaluation['k']}, on days that no model was fitted on."
    elif ranking:
        ordered = [("evaluated lists", ranking)]
        note = f"A sample of {ranking['users']:,} users, lists of {ranking['k']}."
    else:
        return '<div class="card"><p>No lists were evaluated for this run.</p></div>'
    head = "".join(f"<th>{title}</th>" for title in FIGURES.values())
    body = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{figures[key]:.4f}</td>' for key in FIGURES)}</tr>"
        for name, figures in ordered
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="card">{table}<p class="note">{note}</p></div>'


def _audit(audit: dict[str, Any] | None) -> str:
    if not audit:
        return '<div class="card"><p>There is no champion yet whose sentences could be held against the log.</p></div>'
    verdicts = ("true", "false", "misleading")
    head = "".join(f"<th>{verdict}</th>" for verdict in verdicts)
    kinds = {"all claims": audit} | {kind.replace("_", " "): counts for kind, counts in audit["by_kind"].items()}
    body = "".join(
        f"<tr><td>{escape(kind)}</td>{''.join(f'<td>{counts[verdict]:,}</td>' for verdict in verdicts)}</tr>"
        for kind, counts in kinds.items()
    )
    told = "; ".join(f"{each['verdict']}: {each['why']} ({each['title']})" for each in audit["examples"][:SHOWN])
    note = f"{audit['items']:,} items of {audit['lists']:,} lists, every claim counted again. {told}"
    table = f"<table><thead><tr><th>claims</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="card">{table}<p class="note">{escape(note)}</p></div>'


def _link(file: str) -> str:
    name = file.removesuffix(".html")
    if name.startswith("leaderboard-"):
        kind, title = "leaderboard", name.replace("leaderboard-", "Leaderboard of bundle ")
    else:
        subject, _, kind = name.partition("_")
        title = f"{subject.capitalize()}: {kind}"
    return (
        f'<a class="card" href="{escape(file)}"><strong>{escape(title)}</strong>'
        f'<div class="label">{TITLES[kind]}</div></a>'
    )
