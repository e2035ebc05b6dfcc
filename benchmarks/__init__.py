"""Benchmarks: ``python -m benchmarks.NAME``. Progress goes to stderr; the last thing on stdout is one JSON object."""

import importlib.metadata
import json
import os
import platform
import sys
from typing import Any

PACKAGES = (
    "apache-airflow",
    "bentoml",
    "dbt-core",
    "duckdb",
    "evidently",
    "faiss-cpu",
    "feast",
    "lightgbm",
    "torch",
    "transformers",
)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def finish(name: str, figures: dict[str, Any]) -> None:
    """Print the benchmark's one JSON object: its figures, the versions and the machine."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    machine = {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"benchmark": name, **figures, "versions": versions, "machine": machine}, indent=2))
