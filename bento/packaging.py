"""Packages a bundle as a BentoML model, and model and serving code as a bento.

``package`` runs BentoML in a process of its own: its stores are fixed by ``BENTOML_HOME`` when it is first imported.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from zhiyin.registry import run_of
from zhiyin.settings import PROJECT, Settings, get_settings
from zhiyin.store import file_digest, json_digest, verify_manifest

ROOMS = ("bento", "feature_repo", "zhiyin")  # the code that serves
PACKAGES = (
    "bentoml",
    "cryptography",
    "duckdb",
    "faiss-cpu",
    "feast",
    "lightgbm",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "redis",
    "safetensors",
    "scipy",
    "torch",
    "transformers",
)


class PackagingError(ValueError):
    """BentoML could not build or keep the bento."""


def package(settings: Settings, digest: str) -> str:
    """Put the bundle into the model store as ``zhiyin-<dataset>:<digest12>`` and build the bento; return its tag.

    The tag of a bento names bundle and code, so packaging the same again returns at once. The bento has the item state
    of its bundle; what later runs publish is followed where the service has the home's ``item_state/``.

    Raises:
        ValueError: the bundle is not there, or differs from its manifest.
        PackagingError: BentoML failed; the message holds the end of its output.
    """
    bundle = settings.bundles / digest
    if not bundle.is_dir():
        raise ValueError(f"no bundle {digest} in {settings.bundles}; train one first")
    verify_manifest(bundle)
    done = subprocess.run(
        [sys.executable, "-m", "bento.packaging", digest],
        cwd=PROJECT,
        env={
            **os.environ,
            "ZHIYIN_HOME": str(settings.home),
            "ZHIYIN_DATASET": settings.dataset,
            "BENTOML_HOME": str(settings.bentoml),
            "BENTOML_DO_NOT_TRACK": "True",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise PackagingError(f"packaging {digest[:12]} failed (exit {done.returncode}):\n{done.stdout[-4000:]}")
    return done.stdout.strip().splitlines()[-1]


def _sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((PROJECT / room).rglob("*")) if _is_source(path)]


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _pins() -> str:
    """Requirements of the serving code, at the versions of constraints.txt (whichever build of torch is installed)."""
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s+]+)", (PROJECT / "constraints.txt").read_text(), re.MULTILINE))
    return "".join(f"{name}=={pinned[name]}\n" for name in PACKAGES)


def _build(settings: Settings, digest: str) -> str:
    """In the process of its own: model, then bento."""
    import bentoml
    from bentoml.exceptions import NotFound

    model = f"zhiyin-{settings.dataset}:{digest[:12]}"
    try:
        bentoml.models.get(model)
    except NotFound:
        run_id = run_of(settings, digest)
        labels = {"digest": digest} | ({"mlflow_run_id": run_id} if run_id else {})
        with bentoml.models.create(model, module="", labels=labels) as stored:
            shutil.copytree(settings.bundles / digest, stored.path, dirs_exist_ok=True)

    code = json_digest({str(path.relative_to(PROJECT)): file_digest(path) for path in _sources()} | {"pins": _pins()})
    version = f"{digest[:12]}-{code[:8]}"
    try:
        return str(bentoml.bentos.get(f"zhiyin:{version}").tag)
    except NotFound:
        pass
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        for path in _sources():
            copy = context / path.relative_to(PROJECT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (context / "requirements.txt").write_text(_pins())
        definition = (PROJECT / "bento" / "bentofile.yaml").read_text()
        (context / "bentofile.yaml").write_text(f"{definition}models:\n  - {model}\n")
        built = bentoml.bentos.build_bentofile(str(context / "bentofile.yaml"), version=version, build_ctx=name)
    return str(built.tag)


if __name__ == "__main__":
    print(_build(get_settings(), sys.argv[1]))
