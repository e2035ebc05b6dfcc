"""The servers of an installation: start them, watch them, stop them."""

import os
import signal
import subprocess
import time

from rich.console import Console

from cli import servers
from cli.environment import environment, tool
from cli.errors import PlatformError
from cli.runs import Runs
from cli.status import say_where
from pipeline.airflow_api import DAG_ID, AirflowApi
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.settings import Settings
from zhiyin.warehouse import DBT_PROJECT, DbtError, dbt

DEMO_AS_OF = "2017-12-01"  # the demo's present: later days of the built-in dataset are replayed as live traffic
SUPERVISOR = "supervisor"


class Platform:
    """The servers of one installation (one ``ZHIYIN_HOME``)."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings = settings
        self.console = console
        self.api = AirflowApi(settings)

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
                Runs(self.settings, self.console).run_unless_done(clock)
            if registry.champion(self.settings) is None:
                say_where(self.settings, self.console, service=False)
                if once:
                    raise PlatformError("there is no champion to serve.")
            else:
                self._start_service()
                say_where(self.settings, self.console, service=True)
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


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
