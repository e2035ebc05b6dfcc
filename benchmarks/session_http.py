"""How soon a list follows an event, over HTTP: a service of its own beside the home's."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks import say
from zhiyin.recommender.recommender import Recommender
from zhiyin.settings import PROJECT, Settings

START_SECONDS = 120


def measure_delay(settings: Settings, recommender: Recommender, requests: int) -> dict[str, float]:
    """Milliseconds from the acknowledgement of an event to the arrival of the first list that differs.

    Each event is a purchase of what leads the list of a user of its own. Also the times of the two calls alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / settings.data.name
        home.mkdir()
        for part in settings.data.iterdir():
            if part.name not in ("feedback", "features"):
                (home / part.name).symlink_to(part)
        shutil.copytree(settings.data / "features", home / "features")  # the live events go here
        for part in settings.home.iterdir():
            if part.name != settings.data.name:
                (Path(folder) / part.name).symlink_to(part)
        return _measure(Path(folder), requests)


def _measure(home: Path, requests: int) -> dict[str, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    command = [bentoml, "serve", "bento.service:Recommendations", "--host", "127.0.0.1", "--port", str(port)]
    variables = os.environ | {"ZHIYIN_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    with (home / "service.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            _wait(http)
            users = [str(user["user_id"]) for user in http.get("/page/users").json()["users"]]
            times = np.array([_one(http, users[n % len(users)], n) for n in range(requests)])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    names = ("change", "events", "recommend")
    figures: dict[str, float] = {"requests": requests}
    for name, column in zip(names, times.T, strict=True):
        figures |= {f"{name}_median": _ms(column, 0.5), f"{name}_p99": _ms(column, 0.99)}
    say(str(figures))
    return figures


def _one(http: httpx.Client, user: str, number: int) -> tuple[float, float, float]:
    """Seconds to the changed list, of the event's call, and of a list's call."""
    user = user if number % 2 else f"new {number}"

    def ids() -> list[str]:
        answer: dict[str, Any] = http.post("/recommend", json={"user_id": user}).json()
        return [item["item_id"] for item in answer["items"]]

    before = ids()
    sent = time.perf_counter()
    body = {"user_id": user, "events": [{"event_type": "purchase", "item_id": before[number % len(before)]}]}
    if missing := http.post("/events", json=body).raise_for_status().json()["missing"]:
        raise SystemExit(f"events are not followed ({', '.join(missing)}): run the step features")
    acknowledged = time.perf_counter()
    asked = acknowledged
    while ids() == before:
        asked = time.perf_counter()
        if asked - acknowledged > 5:
            raise SystemExit(f"the list of {user} did not follow an event within 5 s")
    changed = time.perf_counter()
    return changed - acknowledged, acknowledged - sent, changed - asked


def _wait(http: httpx.Client) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            if http.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the service was not ready within {START_SECONDS} s")


def _ms(seconds: "np.ndarray[Any, Any]", quantile: float) -> float:
    return round(float(np.quantile(seconds, quantile)) * 1_000, 1)
