"""How an installation stands: its servers, champion and last run, and where a reader looks."""

from dataclasses import asdict
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from cli import servers
from cli.environment import LOOPBACK
from cli.errors import PlatformError
from cli.runs import Runs, as_of
from pipeline.airflow_api import DAG_ID, AirflowError
from zhiyin import registry
from zhiyin.settings import Settings
from zhiyin.store import read_json


def facts_of(settings: Settings, console: Console) -> dict[str, Any]:
    """Servers, champion, lineages on hold, the gate's decision, Airflow's last run, ages of online features."""
    facts: dict[str, Any] = {}
    for server in servers.all_servers(settings):
        alive = servers.running(settings, server.name) is not None
        state = ("up" if servers.healthy(server) else "not ready") if alive else "down"
        facts[server.name] = {"state": state, "url": servers.url(settings, server)}
    last = None
    if facts["airflow-api"]["state"] == "up":
        try:
            runs = Runs(settings, console).all("-start_date")  # a backfill's day is long past, its run is not
        except AirflowError:
            runs = []
        for run in runs[:1]:
            last = {"run_id": run["dag_run_id"], "state": run["state"], "as_of": as_of(run)}
    watermarks = settings.features / "watermarks.json"
    marks = read_json(watermarks) if watermarks.is_file() else {}
    return {
        "home": str(settings.home),
        "dataset": settings.dataset,
        "servers": facts,
        "champion": registry.champion(settings),
        "hold": [asdict(hold) for hold in registry.holds(settings)],
        "last_decision": registry.last_decision(settings),
        "last_run": last,
        "features": {
            view: {name: mark.get(name) for name in ("until", "materialized_at", "ttl_days", "rows")}
            for view, mark in marks.items()
        },
    }


def say_where(settings: Settings, console: Console, service: bool) -> None:
    """Print the addresses, and with ``service`` one list as a check of the running service."""
    airflow, *_ = servers.airflow_servers(settings)
    base = servers.url(settings, servers.service_server(settings))
    if settings.host in LOOPBACK:
        login = "no login: on loopback everyone is admin"
    else:
        login = f"user admin, password in {settings.pseudonym_key.parent / 'airflow_passwords.json'}"
    places = [("Airflow", f"{servers.url(settings, airflow)}/dags/{DAG_ID}", login)]
    if service:
        user = _some_user(settings)
        command = (
            f"curl -s {base}/recommend -H 'Content-Type: application/json' "
            f"""-d '{{"user_id": "{user}", "k": 5, "explain": "text"}}'"""
        )
        docs, reports = servers.docs_server(settings), servers.reports_server(settings)
        places += [
            ("Page", f"{base}/", "choose a user, see the list and why"),
            ("API", f"{base}/docs", "OpenAPI"),
            ("Reports", servers.url(settings, reports) or "", "Evidently"),
            ("Data", servers.url(settings, docs) or "", "dbt docs: every model, column and test"),
        ]
        if newest := max(settings.reports.glob("*/index.html"), default=None):
            places.append(("", newest.as_uri(), "this run's reports"))
    for name, address, words in places:
        console.print(f"{name:<9}{address}  {words}", soft_wrap=True, highlight=False, markup=False)
    if service:
        console.print(command, soft_wrap=True, highlight=False, markup=False)
        _ask(console, f"{base}/recommend", user)


def _some_user(settings: Settings) -> str:
    """A sample user id, as the page offers them."""
    from bento.page_data import sample_users

    return next((str(sample["user_id"]) for sample in sample_users(settings)), "a new user")


def _ask(console: Console, address: str, user: str) -> None:
    """Call the service once and print the list, as a check of the running service."""
    answer = httpx.post(address, json={"user_id": user, "k": 5, "explain": "text"}, timeout=30)
    if answer.is_error or not answer.json()["items"]:
        raise PlatformError(f"the service answered {answer.status_code}: {answer.text[:500]}")
    table = Table("rank", "title", "reason", title=f"{address} for user {user}")
    for item in answer.json()["items"]:
        table.add_row(str(item["rank"]), item["title"], item["reason"])
    console.print(table)
