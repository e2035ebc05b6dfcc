"""The platform: start it, run the pipeline, report its status, stop it."""

import os
import signal
import subprocess
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import servers
from cli.environment import LOOPBACK, environment, tool
from cli.follow import follow
from pipeline.airflow_api import DAG_ID, AirflowApi, AirflowError
from pipeline.reports import RunReports
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.store import read_json
from zhiyin.warehouse import DBT_PROJECT, DbtError, dbt

DEMO_AS_OF = "2017-12-01"  # the demo's present: later days of the built-in dataset are replayed as live traffic
SUPERVISOR = "supervisor"


class PlatformError(Exception):
    """A user error; the message names the cure."""


class Platform:
    """Servers and pipeline of one installation (one ``ZHIYIN_HOME``)."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings = settings
        self.console = console
        self.api = AirflowApi(settings)

    # Up and down

    def up(self, clock: Clock | None, once: bool) -> None:
        """Start all servers, run the pipeline for ``clock`` unless it has run, and wait for a signal or not."""
        if other := servers.running(self.settings, SUPERVISOR):
            raise PlatformError(f"already up (process {other.pid}); `zhiyin down` stops it.")
        for server in servers.all_servers(self.settings):
            if servers.running(self.settings, server.name) is None:
                servers.check_port(self.settings, server)
        servers.remember(self.settings, SUPERVISOR, os.getpid())
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            self.start_airflow()
            if registry.champion(self.settings):
                servers.start(self.settings, servers.service_server(self.settings))  # serves during the run
            if clock is not None:
                self._run_unless_done(clock)
            if registry.champion(self.settings) is None:
                self._say_where(service=False)
                if once:
                    raise PlatformError("there is no champion to serve.")
            else:
                self._start_service()
                self._say_where(service=True)
            if not once:
                self._watch()
        except KeyboardInterrupt:
            self.console.print("\nstopping …")
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            servers.stop(self.settings, [server.name for server in servers.all_servers(self.settings)])
            servers.forget(self.settings, SUPERVISOR)

    def down(self) -> list[str]:
        """Stop the supervisor, which stops its servers, and servers that a killed supervisor left."""
        names = [server.name for server in servers.all_servers(self.settings)]
        alive = [name for name in names if servers.running(self.settings, name)]
        servers.stop(self.settings, [SUPERVISOR], grace=40, family=False)
        servers.stop(self.settings, names)
        return alive

    def start_airflow(self) -> None:
        """Start Airflow's processes and wait until the DAG can be triggered."""
        with self.console.status("preparing dbt's manifest"):
            self._parse_dbt()
        with self.console.status("preparing Airflow's database"):
            self._migrate()
        parts = servers.airflow_servers(self.settings)
        with self.console.status("starting Airflow"):
            for server in parts:
                servers.start(self.settings, server)
            servers.wait_until(self.settings, parts[0], lambda: servers.healthy(parts[0]))
            servers.wait_until(self.settings, parts[0], self.api.ready)
            self.api.ensure_pool("warehouse", 1, "One slot: DuckDB allows one writing process")
            try:
                servers.wait_until(self.settings, parts[1], lambda: self.api.has_dag(DAG_ID), timeout=120)
            except servers.ServerError as error:
                raise PlatformError(f"{error}\n{self.api.import_errors()}") from None
        self.console.print(f"Airflow is up at {servers.url(self.settings, parts[0])}", highlight=False)

    def _start_service(self) -> None:
        with self.console.status("starting the service"):
            parts = (
                servers.service_server(self.settings),
                servers.reports_server(self.settings),
                servers.docs_server(self.settings),
            )
            self.settings.dbt_docs.mkdir(parents=True, exist_ok=True)  # empty until a run has written them
            for server in parts:
                servers.start(self.settings, server)
            for server in parts:
                servers.wait_until(self.settings, server, lambda server=server: servers.healthy(server))  # type: ignore[misc]

    def _parse_dbt(self) -> None:
        """Run `dbt parse` where the project is newer than the manifest, which Cosmos and Feast read."""
        manifest = self.settings.dbt_target / "manifest.json"
        sources = [path for kind in ("*.sql", "*.yml") for path in DBT_PROJECT.rglob(kind)]
        if not manifest.exists() or max(path.stat().st_mtime for path in sources) > manifest.stat().st_mtime:
            try:
                dbt(self.settings, "parse")
            except DbtError as error:
                raise PlatformError(str(error)) from None

    def _migrate(self) -> None:
        """Make or upgrade Airflow's metadata database, once per Airflow version."""
        import importlib.metadata

        version = importlib.metadata.version("apache-airflow")
        stamp = self.settings.airflow / "migrated"
        if not stamp.exists() or stamp.read_text() != version:
            self._command(tool("airflow"), "db", "migrate")
            stamp.write_text(version)

    def _command(self, *command: str) -> None:
        answer = subprocess.run(command, env=environment(self.settings), capture_output=True, text=True, check=False)
        if answer.returncode:
            raise PlatformError(f"{' '.join(command)} failed:\n{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}")

    def _watch(self) -> None:
        """Wait for a signal; report a server that dies."""
        parts = servers.all_servers(self.settings)
        told: set[str] = set()
        while True:
            time.sleep(2)
            for server in parts:
                if server.name not in told and servers.running(self.settings, server.name) is None:
                    told.add(server.name)
                    self.console.print(
                        f"[red]{server.title} has stopped[/]; its log ends:\n"
                        f"{servers.last_lines(self.settings, server.name, 10)}"
                    )

    # Runs

    def run(self, clock: Clock) -> None:
        """Trigger the DAG and follow it; raise when it fails."""
        self._check_dataset()
        run_id = f"as_of_{clock.date}__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        self._follow(clock, self.api.trigger(DAG_ID, run_id, {"as_of": clock.date, "dataset": self.settings.dataset}))

    def backfill(self, first: Clock, last: Clock, again: bool) -> None:
        """Run the DAG for each day from ``first`` to ``last``, one after the other, by Airflow's own backfill.

        Raises:
            PlatformError: the DAG has no schedule, there is nothing to run, or a day failed.
        """
        if not self.settings.schedule:
            raise PlatformError(
                "a backfill goes by the schedule, and there is none: start the platform with ZHIYIN_SCHEDULE=@daily "
                "(and ZHIYIN_SCHEDULE_UNTIL=DATE where the log has ended)."
            )
        self._check_dataset()
        backfill_id, runs = self.api.backfill(DAG_ID, first.date, last.date, again)
        if not runs:
            raise PlatformError(f"no day from {first.date} to {last.date} is left to run; --again repeats them.")
        failed = [run_id for run_id in runs if not follow(self.api, DAG_ID, run_id, self.console)]
        scheduler = servers.airflow_servers(self.settings)[2]
        with self.console.status("waiting for the scheduler to close the backfill"):
            servers.wait_until(self.settings, scheduler, lambda: self.api.backfill_ended(backfill_id))
        if failed:
            raise PlatformError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")

    def _check_dataset(self) -> None:
        """Raise when Airflow was started for another dataset, since its tasks use that one."""
        tags = {tag["name"] for tag in self.api.call("GET", f"/dags/{DAG_ID}")["tags"]}
        if self.settings.dataset not in tags:
            theirs = ", ".join(tags - {"zhiyin"})
            raise PlatformError(
                f"Airflow is up for {theirs}, not for {self.settings.dataset}: `zhiyin down`, then "
                f"`zhiyin up --dataset {self.settings.dataset}`."
            )

    def _runs(self, order_by: str = "-run_after") -> list[dict[str, Any]]:
        """Runs of this dataset; scheduled runs do not name theirs and are included."""
        ours = self.settings.dataset
        return [run for run in self.api.runs(DAG_ID, order_by) if (run["conf"] or {}).get("dataset", ours) == ours]

    def _run_unless_done(self, clock: Clock) -> None:
        runs = [run for run in self._runs() if _as_of(run) == clock.date]
        unfinished = [run["dag_run_id"] for run in runs if run["state"] in ("queued", "running")]
        done = RunReports.of(self.settings, clock).decision_path.is_file()
        if done and any(run["state"] == "success" for run in runs):
            self.console.print(f"The run for {clock.date} is done; `zhiyin run --as-of {clock.date}` repeats it.")
        elif unfinished:
            self.console.print("An earlier run was interrupted; it resumes.")
            self._follow(clock, unfinished[0])
        else:
            self.run(clock)

    def _follow(self, clock: Clock, run_id: str) -> None:
        try:
            succeeded = follow(self.api, DAG_ID, run_id, self.console)
        except KeyboardInterrupt:
            self.console.print(f"\nThe run {run_id} continues while Airflow is up; `zhiyin status` shows its state.")
            raise
        if not succeeded:
            airflow, *_ = servers.airflow_servers(self.settings)
            address = f"{servers.url(self.settings, airflow)}/dags/{DAG_ID}/runs/{run_id}"
            raise PlatformError(f"the run {run_id} failed; see {address}")
        self._say_scores(clock)

    def _say_scores(self, clock: Clock) -> None:
        """Print the evaluation's main figures, and why the gate refused the challenger, if it did."""
        reports = RunReports.of(self.settings, clock)
        evaluation, decision = reports.leaderboard(registry.challenger(self.settings, clock)), reports.decision()
        if evaluation is None or decision is None:
            return
        table = Table("", "NDCG@10", "95 %", title=f"evaluated on the {clock.label_days} days before {clock.date}")
        for name, row in evaluation["models"].items():
            ndcg = row["ndcg@10"]
            table.add_row(name, f"{ndcg['mean']:.4f}", f"{ndcg['low']:.4f} to {ndcg['high']:.4f}")
        self.console.print(table)
        if not decision.promote:
            reasons = escape("; ".join(decision.refusals))
            self.console.print(f"[yellow]The challenger was refused:[/] {reasons}")

    # How it stands

    def status(self) -> dict[str, Any]:
        """Servers, champion, lineages on hold, the gate's decision, Airflow's last run, ages of online features."""
        facts: dict[str, Any] = {}
        for server in servers.all_servers(self.settings):
            alive = servers.running(self.settings, server.name) is not None
            state = ("up" if servers.healthy(server) else "not ready") if alive else "down"
            facts[server.name] = {"state": state, "url": servers.url(self.settings, server)}
        last = None
        if facts["airflow-api"]["state"] == "up":
            try:
                runs = self._runs("-start_date")  # a backfill's day is long past, its run is not
            except AirflowError:
                runs = []
            for run in runs[:1]:
                last = {"run_id": run["dag_run_id"], "state": run["state"], "as_of": _as_of(run)}
        watermarks = self.settings.features / "watermarks.json"
        marks = read_json(watermarks) if watermarks.is_file() else {}
        return {
            "home": str(self.settings.home),
            "dataset": self.settings.dataset,
            "servers": facts,
            "champion": registry.champion(self.settings),
            "hold": [asdict(hold) for hold in registry.holds(self.settings)],
            "last_decision": registry.last_decision(self.settings),
            "last_run": last,
            "features": {
                view: {name: mark.get(name) for name in ("until", "materialized_at", "ttl_days", "rows")}
                for view, mark in marks.items()
            },
        }

    def _say_where(self, service: bool) -> None:
        airflow, *_ = servers.airflow_servers(self.settings)
        base = servers.url(self.settings, servers.service_server(self.settings))
        if self.settings.host in LOOPBACK:
            login = "no login: on loopback everyone is admin"
        else:
            login = f"user admin, password in {self.settings.pseudonym_key.parent / 'airflow_passwords.json'}"
        places = [("Airflow", f"{servers.url(self.settings, airflow)}/dags/{DAG_ID}", login)]
        if service:
            user = self._some_user()
            command = (
                f"curl -s {base}/recommend -H 'Content-Type: application/json' "
                f"""-d '{{"user_id": "{user}", "k": 5, "explain": "text"}}'"""
            )
            docs, reports = servers.docs_server(self.settings), servers.reports_server(self.settings)
            places += [
                ("Page", f"{base}/", "choose a user, see the list and why"),
                ("API", f"{base}/docs", "OpenAPI"),
                ("Reports", servers.url(self.settings, reports) or "", "Evidently"),
                ("Data", servers.url(self.settings, docs) or "", "dbt docs: every model, column and test"),
            ]
            if newest := max(self.settings.reports.glob("*/index.html"), default=None):
                places.append(("", newest.as_uri(), "this run's reports"))
        for name, address, words in places:
            self.console.print(f"{name:<9}{address}  {words}", soft_wrap=True, highlight=False, markup=False)
        if service:
            self.console.print(command, soft_wrap=True, highlight=False, markup=False)
            self._ask(f"{base}/recommend", user)

    def _some_user(self) -> str:
        """A sample user id, as the page offers them."""
        from bento.page_data import sample_users

        return next((str(sample["user_id"]) for sample in sample_users(self.settings)), "a new user")

    def _ask(self, address: str, user: str) -> None:
        """Call the service once and print the list, as a check of the running service."""
        answer = httpx.post(address, json={"user_id": user, "k": 5, "explain": "text"}, timeout=30)
        if answer.is_error or not answer.json()["items"]:
            raise PlatformError(f"the service answered {answer.status_code}: {answer.text[:500]}")
        table = Table("rank", "title", "reason", title=f"{address} for user {user}")
        for item in answer.json()["items"]:
            table.add_row(str(item["rank"]), item["title"], item["reason"])
        self.console.print(table)


def _as_of(run: dict[str, Any]) -> str | None:
    """The day of a run: the one it was triggered for, or the end of its data interval."""
    return (run["conf"] or {}).get("as_of") or (run["data_interval_end"] or "")[:10] or None


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
