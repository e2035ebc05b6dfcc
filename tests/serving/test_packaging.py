"""The bundle travels: model store, bento, and a service from the bento alone."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from bento.packaging import package
from tests.serving.running import borrow, serve
from zhiyin.registry import link_run, run_of
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, verify_manifest


def test_a_bento_holds_bundle_and_code_and_nothing_else(
    slice_home: Any, champion: tuple[Path, str], tmp_path: Path
) -> None:
    settings = borrow(slice_home.settings, tmp_path)
    digest = champion[1]
    run_id = run_of(slice_home.settings, digest)
    assert run_id
    link_run(settings, digest, run_id)
    tag = package(settings, digest)
    name, version = tag.split(":")
    assert name == "zhiyin"
    assert version.startswith(digest[:12])

    stored = settings.bentoml / "models" / f"zhiyin-{settings.dataset}" / digest[:12]
    assert verify_manifest(stored)["digest"] == digest
    labels = yaml.safe_load((stored / "model.yaml").read_text())["labels"]
    assert labels == {"digest": digest, "mlflow_run_id": run_id}
    runs = sqlite3.connect(slice_home.settings.tracking)
    query = """
        select value from metrics where run_uuid = ? and key = 'zhiyin/ndcg_at_10'
    """
    evaluated = [ndcg for (ndcg,) in runs.execute(query, [run_id])]
    assert evaluated
    assert all(0 < ndcg < 1 for ndcg in evaluated)
    source = settings.bentoml / "bentos" / name / version / "src"
    assert {path.name for path in source.iterdir() if path.is_dir()} == {"bento", "feature_repo", "zhiyin"}
    assert not list(source.rglob("__pycache__"))
    assert (source / "bento" / "page" / "index.html").is_file()

    started = time.monotonic()
    assert package(settings, digest) == tag
    assert time.monotonic() - started < 30


def test_what_is_not_a_sound_bundle_is_not_packaged(
    slice_home: Any, champion: tuple[Path, str], tmp_path: Path
) -> None:
    settings = borrow(slice_home.settings, tmp_path)
    with pytest.raises(ValueError, match="no bundle 0000"):
        package(settings, "0000")
    broken = settings.bundles / "1111"
    broken.mkdir()
    (broken / MANIFEST).write_text((champion[0] / MANIFEST).read_text())
    with pytest.raises(ValueError, match="in the manifest but not in the folder"):
        package(settings, "1111")


def test_a_bento_serves_its_own_bundle_where_nothing_is_promoted(
    slice_home: Any, champion: tuple[Path, str], tmp_path: Path
) -> None:
    built = borrow(slice_home.settings, tmp_path / "built")
    tag = package(built, champion[1])
    elsewhere = Settings(home=tmp_path / "elsewhere", threads=1)  # type: ignore[call-arg]
    elsewhere.home.mkdir()
    with serve(elsewhere, tag, BENTOML_HOME=str(built.bentoml)) as service:
        service.wait(lambda: service.http.get("/readyz").status_code == 200, "the packaged champion")
        answer = service.recommend(user_id="1", k=5)
        assert answer["model_version"] == champion[1]
        assert answer["missing"] == ["user_state_unavailable"]
        assert len(answer["items"]) == 5
