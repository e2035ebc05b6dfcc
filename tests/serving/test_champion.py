"""A new champion is served without a restart and without a dropped request; a broken one is not served at all."""

import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.running import borrow, point, ready, rewrite, serve


@pytest.fixture
def second(champion: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """Another sound bundle."""
    return rewrite(champion[0], tmp_path / "second", copied_for="a swap")


def test_promotions_reach_a_running_service_and_drop_no_request(
    slice_home: Any, champion: tuple[Path, str], second: tuple[Path, str], tmp_path: Path
) -> None:
    settings = borrow(slice_home.settings, tmp_path / "home")
    with serve(settings) as service:
        assert service.http.get("/readyz").status_code == 503
        refused = service.http.post("/recommend", json={"user_id": "1"})
        assert refused.status_code == 503
        assert "No model is promoted yet" in refused.json()["error"]
        point(settings, *champion)
        service.wait(lambda: ready(service), "the first champion")

        outcomes: Counter[str] = Counter()
        stop = threading.Event()

        def hammer() -> None:
            with httpx.Client(base_url=service.http.base_url, timeout=30) as http:
                while not stop.is_set():
                    try:
                        answer = http.post("/recommend", json={"user_id": "1"})
                        outcomes[answer.json()["model_version"] if answer.status_code == 200 else answer.text] += 1
                    except httpx.HTTPError as error:
                        outcomes[repr(error)] += 1

        def answered(digest: str) -> None:
            target = outcomes[digest] + 20
            service.wait(lambda: outcomes[digest] > target, f"20 lists of {digest[:12]}")

        callers = [threading.Thread(target=hammer) for _ in range(4)]
        for caller in callers:
            caller.start()
        answered(champion[1])
        for bundle, digest in (second, champion):
            point(settings, bundle, digest)
            answered(digest)
        stop.set()
        for caller in callers:
            caller.join()
    assert set(outcomes) == {champion[1], second[1]}


def test_a_broken_bundle_is_refused_and_the_old_one_goes_on(
    slice_home: Any, champion: tuple[Path, str], second: tuple[Path, str], tmp_path: Path
) -> None:
    settings = borrow(slice_home.settings, tmp_path / "home")
    point(settings, *champion)
    bundle, digest = second
    largest = max((path for path in bundle.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    sound = largest.read_bytes()
    largest.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))  # one flipped bit
    with serve(settings) as service:
        service.wait(lambda: ready(service), "a ready service")
        point(settings, bundle, digest)
        service.wait(lambda: f"bundle {digest[:12]} refused" in service.log.read_text(), "the refusal")
        assert largest.name in service.log.read_text()
        assert ready(service)
        assert service.recommend(user_id="1")["model_version"] == champion[1]
        # Another bundle than the pointer names is not served under its name.
        point(settings, champion[0], "0" * 64)
        service.wait(lambda: f"bundle {'0' * 12} refused" in service.log.read_text(), "the refusal of a wrong name")
        assert service.recommend(user_id="1")["model_version"] == champion[1]
        # A pointer that cannot be read is no reason to fall either.
        (settings.registry / "champion.json").write_text("{")
        service.wait(lambda: "cannot be read" in service.log.read_text(), "the second refusal")
        assert service.recommend(user_id="1")["model_version"] == champion[1]
        # A sound bundle is taken at once.
        largest.write_bytes(sound)
        shutil.move(bundle, tmp_path / "repaired")
        point(settings, *rewrite(tmp_path / "repaired", tmp_path / "third", copied_for="a repair"))
        service.wait(lambda: service.recommend(user_id="1")["model_version"] != champion[1], "the repaired bundle")
