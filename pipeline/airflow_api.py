"""The calls of Airflow's REST API that the command line needs."""

from typing import Any

import httpx

from zhiyin.settings import Settings
from zhiyin.store import read_json

DAG_ID = "recommender"


class AirflowError(Exception):
    """Airflow refused a call, or cannot be reached; the message says what and the cure."""


class AirflowApi:
    """A client of the local API server (https://airflow.apache.org/docs, REST API v2)."""

    def __init__(self, settings: Settings) -> None:
        self._base = f"http://{settings.host}:{settings.airflow_port}"
        # A server that is gone refuses at once; one on a busy machine may take long to answer.
        self._client = httpx.Client(base_url=self._base, timeout=httpx.Timeout(180, connect=10))
        self._settings = settings

    def _login(self) -> None:
        passwords = self._settings.pseudonym_key.parent / "airflow_passwords.json"
        if passwords.exists():
            password = read_json(passwords)["admin"]
            answer = self._client.post("/auth/token", json={"username": "admin", "password": password})
        else:
            answer = self._client.get("/auth/token")
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """One call; the JSON answer.

        Raises:
            AirflowError: Airflow is not reachable or answered with an error.
        """
        try:
            if "Authorization" not in self._client.headers:
                self._login()
            answer = self._client.request(method, f"/api/v2{path}", **arguments)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._login()
                answer = self._client.request(method, f"/api/v2{path}", **arguments)
        except httpx.HTTPError as error:
            raise AirflowError(
                f"Airflow does not answer at {self._base} ({error}): start it with `zhiyin up`."
            ) from None
        if answer.is_error:
            raise AirflowError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def ready(self) -> bool:
        """Whether scheduler, DAG processor and triggerer have reported a heartbeat."""
        try:
            health = self.call("GET", "/monitor/health")
        except AirflowError:
            return False
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor", "triggerer"))

    def has_dag(self, dag_id: str) -> bool:
        try:
            return not self.call("GET", f"/dags/{dag_id}")["is_stale"]
        except AirflowError:
            return False

    def import_errors(self) -> str:
        errors = self.call("GET", "/importErrors")["import_errors"]
        return "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in errors)

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Make the pool where it is missing."""
        names = {pool["name"] for pool in self.call("GET", "/pools")["pools"]}
        if name not in names:
            self.call("POST", "/pools", json={"name": name, "slots": slots, "description": description})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> str:
        """Trigger a run outside the schedule; return its id."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def backfill(self, dag_id: str, first: str, last: str, again: bool) -> tuple[int, list[str]]:
        """Queue a run for each scheduled day from ``first`` to ``last``, one at a time.

        Days that had a run before are left out unless ``again``.

        Returns:
            The backfill's id, and the ids of its runs in the order of their days.
        """
        body = {
            "dag_id": dag_id,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "max_active_runs": 1,
            "reprocess_behavior": "completed" if again else "none",
        }
        made = self.call("POST", "/backfills", json=body)
        runs = self.call(
            "GET",
            f"/dags/{dag_id}/dagRuns",
            params={
                "run_type": "backfill",
                "logical_date_gte": body["from_date"],
                "logical_date_lte": body["to_date"],
                "order_by": "logical_date",
                "limit": 1000,
            },
        )["dag_runs"]
        queued = [run["dag_run_id"] for run in runs if run["queued_at"] and run["queued_at"] >= made["created_at"]]
        return made["id"], queued

    def backfill_ended(self, backfill_id: int) -> bool:
        """Whether the scheduler has closed a backfill: before that it accepts no other one of the DAG."""
        return bool(self.call("GET", f"/backfills/{backfill_id}")["completed_at"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str, order_by: str = "-run_after", limit: int = 100) -> list[dict[str, Any]]:
        """By default the newest first, queued ones among them."""
        answer = self.call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": order_by, "limit": limit})
        return list(answer["dag_runs"])

    def tasks(self, dag_id: str) -> list[str]:
        """Task ids in the DAG's own order."""
        return [task["task_id"] for task in self.call("GET", f"/dags/{dag_id}/tasks")["tasks"]]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.call("GET", path, params={"limit": 500})["task_instances"])

    def log_lines(self, dag_id: str, run_id: str, task_id: str, attempt: int, count: int = 25) -> list[str]:
        """The last lines of a task's log."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self.call("GET", path, params={"full_content": "true"}, headers={"Accept": "application/json"})
        lines = []
        for entry in content["content"]:
            lines.append(entry["event"] if isinstance(entry, dict) else str(entry))
            for error in entry.get("error_detail", []) if isinstance(entry, dict) else []:
                lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
        return lines[-count:]
