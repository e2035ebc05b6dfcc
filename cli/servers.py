"""Start, watch and stop the servers: each in a process group of its own, with a log and a record of its process id."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from cli.environment import environment, tool
from zhiyin.settings import Settings
from zhiyin.store import read_json, write_json


class ServerError(Exception):
    """A server that cannot start or has died; the message names the server, the reason and the cure."""


@dataclass(frozen=True)
class Server:
    """A process that stays up; ``health`` answers 200 once it is ready (None: being alive is enough)."""

    name: str
    title: str
    command: tuple[str, ...]
    port: int | None = None
    port_setting: str = ""
    health: str | None = None


def airflow_servers(settings: Settings) -> tuple[Server, ...]:
    """The four processes of Airflow."""
    airflow = tool("airflow")
    return (
        Server(
            "airflow-api",
            "Airflow UI",
            (airflow, "api-server"),
            settings.airflow_port,
            "ZHIYIN_AIRFLOW_PORT",
            f"http://{settings.host}:{settings.airflow_port}/api/v2/version",
        ),
        Server("airflow-dag-processor", "Airflow DAG processor", (airflow, "dag-processor")),
        Server("airflow-scheduler", "Airflow scheduler", (airflow, "scheduler", "--skip-serve-logs")),
        Server("airflow-triggerer", "Airflow triggerer", (airflow, "triggerer", "--skip-serve-logs")),
    )


def service_server(settings: Settings) -> Server:
    """The recommendation service."""
    base = f"http://{settings.host}:{settings.service_port}"
    return Server(
        "service",
        "Recommendation service",
        (
            tool("bentoml"),
            "serve",
            "bento.service:Recommendations",
            "--host",
            settings.host,
            "--port",
            str(settings.service_port),
        ),
        settings.service_port,
        "ZHIYIN_SERVICE_PORT",
        f"{base}/readyz",
    )


def reports_server(settings: Settings) -> Server:
    """Evidently's UI over the reports' workspace."""
    return Server(
        "reports",
        "Reports",
        (
            tool("evidently"),
            "ui",
            "--workspace",
            str(settings.evidently),
            "--host",
            settings.host,
            "--port",
            str(settings.reports_port),
        ),
        settings.reports_port,
        "ZHIYIN_REPORTS_PORT",
        f"http://{settings.host}:{settings.reports_port}/api/version",
    )


def docs_server(settings: Settings) -> Server:
    """dbt's documentation of the warehouse."""
    where = ("--directory", str(settings.dbt_docs), "--bind", settings.host)
    return Server(
        "docs",
        "dbt docs",
        (sys.executable, "-m", "http.server", *where, str(settings.docs_port)),
        settings.docs_port,
        "ZHIYIN_DOCS_PORT",
        f"http://{settings.host}:{settings.docs_port}/",
    )


def all_servers(settings: Settings) -> tuple[Server, ...]:
    return (*airflow_servers(settings), service_server(settings), reports_server(settings), docs_server(settings))


def url(settings: Settings, server: Server) -> str | None:
    return f"http://{settings.host}:{server.port}" if server.port else None


# One record per server: {pid, created}. The creation time distinguishes our process from a later one with its id.


def _record(settings: Settings, name: str) -> Path:
    return settings.run / f"{name}.json"


def _log(settings: Settings, name: str) -> Path:
    return settings.run / f"{name}.log"


def running(settings: Settings, name: str) -> psutil.Process | None:
    """The server's process when it is alive, else None."""
    record = _record(settings, name)
    if not record.exists():
        return None
    facts = read_json(record)
    try:
        process = psutil.Process(facts["pid"])
        alive = process.create_time() == facts["created"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def remember(settings: Settings, name: str, pid: int) -> None:
    """Record a process under a server's name."""
    write_json(_record(settings, name), {"pid": pid, "created": psutil.Process(pid).create_time()})


def forget(settings: Settings, name: str) -> None:
    """Drop a server's record."""
    _record(settings, name).unlink(missing_ok=True)


def check_port(settings: Settings, server: Server) -> None:
    """Raise a one-line ServerError when another process has the server's port."""
    if server.port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, server.port))
        except OSError as error:
            raise ServerError(
                f"Port {server.port} ({server.title}) is taken: set {server.port_setting} to a free port, "
                f"such as {server.port_setting}={server.port + 100}, and run again ({error.strerror})."
            ) from None


def start(settings: Settings, server: Server) -> None:
    """Start a server unless it is running; return at once."""
    if running(settings, server.name):
        return
    check_port(settings, server)
    settings.run.mkdir(parents=True, exist_ok=True)
    with _log(settings, server.name).open("wb") as log:
        process = subprocess.Popen(
            server.command,
            env=environment(settings),
            cwd=settings.run,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    remember(settings, server.name, process.pid)


def last_lines(settings: Settings, name: str, count: int = 20) -> str:
    log = _log(settings, name)
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""


def healthy(server: Server) -> bool:
    """Whether the server's health address answers 200."""
    if server.health is None:
        return True
    try:
        return httpx.get(server.health, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def wait_until(settings: Settings, server: Server, ready: Callable[[], bool], timeout: float = 180) -> None:
    """Wait until ``ready``; raise ServerError with the end of the log when the server dies or on timeout."""
    deadline = time.monotonic() + timeout
    while not ready():
        dead = running(settings, server.name) is None
        if dead or time.monotonic() > deadline:
            fate = "stopped" if dead else f"was not ready after {timeout:.0f} s"
            raise ServerError(
                f"{server.title} {fate}. Its log, {_log(settings, server.name)}, ends:\n"
                f"{last_lines(settings, server.name)}"
            )
        time.sleep(0.3)


def stop(settings: Settings, names: list[str], grace: float = 20, family: bool = True) -> list[str]:
    """End processes (with everything they started, unless ``family`` is False): SIGTERM, SIGKILL after ``grace`` s.

    Returns the names that were running.
    """
    ending: list[psutil.Process] = []
    stopped = []
    for name in names:
        process = running(settings, name)
        if process is not None:
            stopped.append(name)
            with suppress(psutil.NoSuchProcess):
                ending += [*(process.children(recursive=True) if family else ()), process]
    for process in ending:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(ending, timeout=grace)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    for name in names:
        forget(settings, name)
    return stopped
