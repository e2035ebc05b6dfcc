"""The environment variables of every process that we start: for Airflow, dbt, Feast, BentoML and Evidently."""

import base64
import importlib.util
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.errors import PlatformError
from zhiyin.settings import PROJECT, Settings
from zhiyin.warehouse import dbt_environment

LOOPBACK = ("127.0.0.1", "localhost", "::1")

# OpenMP threads sleep while they wait: spinning beside another busy process makes training 15 times slower.
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}

# No usage statistics leave the machine.
QUIET = {
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
    "BENTOML_DO_NOT_TRACK": "True",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "SCARF_NO_ANALYTICS": "true",
}


def secret(path: Path, make: str) -> str:
    """A secret kept in a file that only its owner reads; made from ``make`` on first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(make)
    return path.read_text()


def lineage_environment(settings: Settings) -> dict[str, str]:
    """Airflow's configuration of its OpenLineage provider.

    Raises:
        PlatformError: lineage is asked for, and the provider is not installed.
    """
    if not settings.lineage:
        return {"AIRFLOW__OPENLINEAGE__DISABLED": "True"}
    if importlib.util.find_spec("airflow.providers.openlineage") is None:
        raise PlatformError(
            "ZHIYIN_LINEAGE needs the package apache-airflow-providers-openlineage: "
            "pip install -c constraints.txt 'zhiyin[lineage]'"
        )
    transport: dict[str, Any]
    if urlsplit(settings.lineage).scheme in ("http", "https"):
        transport = {"type": "http", "url": settings.lineage}
    else:
        file = Path(settings.lineage.removeprefix("file://")).expanduser().resolve()
        file.parent.mkdir(parents=True, exist_ok=True)
        transport = {"type": "file", "log_file_path": str(file), "append": True}
    return {
        "AIRFLOW__OPENLINEAGE__DISABLED": "False",
        "AIRFLOW__OPENLINEAGE__NAMESPACE": f"zhiyin.{settings.dataset}",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        # Source code and connection details of tasks stay here.
        "AIRFLOW__OPENLINEAGE__DISABLE_SOURCE_CODE": "True",
    }


def environment(settings: Settings) -> dict[str, str]:
    """Variables for the servers and the commands we start, on top of the caller's own."""
    secrets_folder = settings.pseudonym_key.parent
    base_url = f"http://{settings.host}:{settings.airflow_port}"
    values = {
        **QUIET,
        **dbt_environment(settings),
        "ZHIYIN_HOME": str(settings.home),
        "ZHIYIN_DATASET": settings.dataset,
        "BENTOML_HOME": str(settings.bentoml),
        "AIRFLOW_HOME": str(settings.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__FERNET_KEY": secret(
            secrets_folder / "airflow_fernet.key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        ),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
        "AIRFLOW__API__BASE_URL": base_url,
        "AIRFLOW__API__HOST": settings.host,
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret(secrets_folder / "airflow_api.key", secrets.token_hex(32)),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(secrets_folder / "airflow_jwt.key", secrets.token_hex(32)),
        # On a busy machine an answer may take longer than the 5 seconds after which Airflow fails the task.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # Cosmos keeps its caches with the rest of our files, not in a shared temporary folder.
        "AIRFLOW__COSMOS__CACHE_DIR": str(settings.airflow / "cosmos"),
        "OMP_NUM_THREADS": str(settings.threads),
        **PATIENT,
    }
    values |= lineage_environment(settings)
    if settings.encryption_key_file:
        values["ZHIYIN_ENCRYPTION_KEY_FILE"] = str(settings.encryption_key_file)
    if settings.rules:
        values["ZHIYIN_RULES"] = str(settings.rules)  # in full: our processes start in other folders
    if settings.host in LOOPBACK:
        values["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "True"
    else:
        values["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = "admin:admin,analyst:viewer"
        values["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] = str(secrets_folder / "airflow_passwords.json")
    return os.environ | values


def tool(name: str) -> str:
    """Path of a command installed beside the running Python."""
    return str(Path(sys.executable).with_name(name))
