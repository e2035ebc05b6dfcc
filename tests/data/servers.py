"""Real servers of data, each in a folder of its own, unprivileged: PostgreSQL, MariaDB, and SeaweedFS for files."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import free_port

START_SECONDS = 60
PASSWORD = "s3 cret"
ENVIRONMENT = Path(sys.prefix) / "sources" / "bin"  # make sources: a DuckDB whose extensions come as packages
OFFSET = "+09:00"  # of the servers' time zone: not ours


@dataclass(frozen=True)
class Server:
    """Where a database answers, and the command that runs SQL from its standard input there."""

    port: int
    client: list[str]
    variables: Mapping[str, str]

    def run(self, sql: str) -> None:
        subprocess.run(self.client, input=sql, text=True, check=True, env={**os.environ, **self.variables})


def needed(name: str) -> str:
    """The path of a program, or a skip that says what is not there."""
    path = shutil.which(name, path=os.pathsep.join([str(ENVIRONMENT), os.environ["PATH"], "/usr/sbin", *_postgres()]))
    if path is None:
        reason = f"no {name}: sources are tried on real servers (see .ci/run, and make sources)"
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    return path


def _postgres() -> list[str]:
    return [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


@contextmanager
def folder_of(user: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder that belongs to the user a server runs as, and the arguments of a process of that user."""
    identity = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="zhiyin-", ignore_cleanup_errors=True) as name:
        if identity:
            shutil.chown(name, user, user)
        yield Path(name), identity


@contextmanager
def running(
    command: list[str], log: Path, answers: Callable[[], bool], end: int = signal.SIGTERM, **identity: Any
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent, **identity)
    try:
        until = time.monotonic() + START_SECONDS
        while not answers():
            assert process.poll() is None, f"{command[0]} ended:\n{log.read_text()[-2000:]}"
            assert time.monotonic() < until, f"{command[0]} did not answer in {START_SECONDS} s"
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(end)
        process.wait()


@contextmanager
def postgres() -> Iterator[Server]:
    initdb, server, psql = (needed(name) for name in ("initdb", "postgres", "psql"))
    port = free_port()
    with folder_of("postgres") as (folder, identity):
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        subprocess.run(
            [initdb, "-D", folder / "data", "-U", "shop", "--pwfile", folder / "password", "-A", "scram-sha-256",
             "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **identity,
        )  # fmt: skip
        client = [psql, "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-U", "shop", "postgres"]
        variables = {"PGPASSWORD": PASSWORD, "PGCLIENTENCODING": "UTF8"}
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "timezone": "Japan"}
        command = [server, "-D", str(folder / "data"), "-p", str(port)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

        def answers() -> bool:
            asked = subprocess.run([*client, "-c", "select 1"], capture_output=True, env={**os.environ, **variables})
            return asked.returncode == 0

        with running(command, folder / "log", answers, **identity):
            yield Server(port, client, variables)


@contextmanager
def mariadb() -> Iterator[Server]:
    install, server, client = (needed(name) for name in ("mariadb-install-db", "mariadbd", "mariadb"))
    port = free_port()
    with folder_of("mysql") as (folder, identity):
        data = f"--datadir={folder}/data"
        subprocess.run(
            [install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **identity,
        )  # fmt: skip
        command = [server, "--no-defaults", data, f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        command += [f"--socket={folder}/socket", f"--default-time-zone={OFFSET}", "--innodb-flush-log-at-trx-commit=0"]
        root = [client, "--no-defaults", "-h127.0.0.1", f"-P{port}", "-uroot", "--default-character-set=utf8mb4"]

        def answers() -> bool:
            return subprocess.run([*root, "-e", "select 1"], capture_output=True).returncode == 0

        with running(command, folder / "log", answers, **identity):
            yield Server(port, root, {})


@dataclass(frozen=True)
class Bucket:
    """A bucket ``lake`` that S3's protocol reads with keys, and plain HTTP without."""

    http: str
    variables: Mapping[str, str]

    def put(self, file: Path, name: str) -> None:
        with file.open("rb") as content:
            httpx.post(f"{self.http}/{name}", files={"file": content}).raise_for_status()


@contextmanager
def object_store() -> Iterator[Bucket]:
    weed = needed("weed")
    master, volume, filer, s3 = (free_port() for _ in range(4))
    with tempfile.TemporaryDirectory(prefix="zhiyin-") as name:
        folder = Path(name)
        keys = f'{{"accessKey": "reader", "secretKey": "{PASSWORD}"}}'
        (folder / "keys.json").write_text(
            f'{{"identities": [{{"name": "reader", "credentials": [{keys}], "actions": ["Read", "List"]}}]}}'
        )
        ports = {"master": master, "volume": volume, "filer": filer, "s3": s3}
        # Each has a second port, for its own protocol, which would be the first plus 10,000.
        command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
        command += [f"-{role}.port={port}" for role, port in ports.items()]
        command += [f"-{role}.port.grpc={free_port()}" for role in ports]
        command += [f"-s3.config={folder}/keys.json", "-volume.max=5", "-master.volumeSizeLimitMB=64"]
        command += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]

        def answers() -> bool:
            try:
                return all(
                    httpx.get(f"http://127.0.0.1:{port}/").status_code < 500 for port in (filer, s3)
                ) and _writable(f"http://127.0.0.1:{filer}/buckets/lake/probe")
            except httpx.TransportError:
                return False

        with running(command, folder / "log", answers, signal.SIGKILL):  # it waits for minutes otherwise
            yield Bucket(
                f"http://127.0.0.1:{filer}/buckets/lake",
                {
                    "AWS_ACCESS_KEY_ID": "reader",
                    "AWS_SECRET_ACCESS_KEY": PASSWORD,
                    "AWS_REGION": "eu-central-1",
                    "DUCKDB_S3_ENDPOINT": f"127.0.0.1:{s3}",
                    "DUCKDB_S3_USE_SSL": "false",
                },
            )


def _writable(address: str) -> bool:
    return httpx.post(address, files={"file": b"-"}).is_success
