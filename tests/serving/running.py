"""The service as callers meet it: `bentoml serve` in a process of its own, on a home that a test may change."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.environment import tool
from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.settings import PROJECT, Settings
from zhiyin.store import write_json, write_manifest

START_SECONDS = 240


@dataclass(frozen=True)
class Service:
    """A running service: its home, its address, its log."""

    settings: Settings
    http: httpx.Client
    log: Path

    def recommend(self, **body: Any) -> dict[str, Any]:
        response = self.http.post("/recommend", json=body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def impressions(self) -> list[dict[str, Any]]:
        files = sorted((self.settings.feedback / "impressions").glob("day=*/*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def pseudonym(self, user_id: str) -> str:
        return pseudonymise(load_key(self.settings), user_id)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"{what} did not happen in {seconds} s:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.1)


def borrow(home: Settings, folder: Path) -> Settings:
    """A home that reads the slice's data and has a registry and a log of its own."""
    settings = Settings(home=folder, champion_poll_seconds=0.2, threads=1)  # type: ignore[call-arg]
    shutil.copytree(home.pseudonym_key.parent, settings.pseudonym_key.parent)
    settings.bundles.mkdir(parents=True)
    for bundle in home.bundles.iterdir():
        (settings.bundles / bundle.name).symlink_to(bundle)
    for name in ("lake", "marts", "features", "states"):
        (settings.data / name).symlink_to(home.data / name)
    return settings


def point(settings: Settings, bundle: Path, digest: str) -> None:
    """Move the champion pointer without the gate, as a test of what the service does next."""
    pointer = {"digest": digest, "judged": digest, "bundle": str(bundle), "promoted_at_as_of": "2017-12-01"}
    write_json(settings.registry / "champion.json", pointer)


def rewrite(bundle: Path, folder: Path, **facts: Any) -> tuple[Path, str]:
    """A copy of a bundle under another digest."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = {name: value for name, value in manifest.items() if name not in ("files", "digest")}
    return folder, str(write_manifest(folder, **{**kept, **facts})["digest"])


@contextmanager
def serve(settings: Settings, target: str = "bento.service:Recommendations", **environment: str) -> Iterator[Service]:
    """Start `bentoml serve`, wait until it is alive (not: ready), and end its whole process group afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = settings.home / "service.log"
    variables = {
        **os.environ,
        "ZHIYIN_HOME": str(settings.home),
        "ZHIYIN_CHAMPION_POLL_SECONDS": str(settings.champion_poll_seconds),
        "ZHIYIN_THREADS": str(settings.threads),
        "BENTOML_HOME": str(settings.bentoml),
        "BENTOML_DO_NOT_TRACK": "True",
        **environment,
    }
    command = [tool("bentoml"), "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            service = Service(settings, http, log)
            service.wait(lambda: _answers(http, "/livez"), "a living service")
            yield service
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(http: httpx.Client, path: str) -> bool:
    try:
        return http.get(path).status_code == 200
    except httpx.TransportError:
        return False


def ready(service: Service) -> bool:
    return _answers(service.http, "/readyz")
