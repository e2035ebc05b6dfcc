"""Runs of the pipeline's DAG: trigger, follow, backfill, and what they ended with."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import servers
from cli.errors import PlatformError
from cli.follow import follow
from pipeline.airflow_api import DAG_ID, AirflowApi
from pipeline.reports import RunReports
from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.settings import Settings


@dataclass(frozen=True)
class Runs:
    """The runs of one dataset in a running Airflow."""

    settings: Settings
    console: Console

    @property
    def api(self) -> AirflowApi:
        return AirflowApi(self.settings)

    def run(self, clock: Clock) -> None:
        """Trigger the DAG and follow it; raise when it fails."""
        self._check_dataset()
        run_id = f"as_of_{clock.date}__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        self._follow(clock, self.api.trigger(DAG_ID, run_id, {"as_of": clock.date, "dataset": self.settings.dataset}))

    def backfill(self, first: Clock, last: Clock, again: bool) -> None:
        """Run the DAG for each day from ``first`` to ``last``, one after the other, by Airflow's own backfill.

        Raises:
            PlatformError: the DAG has no schedule, there is nothing to run, or a day failed.
        """
        if not self.settings.schedule:
            raise PlatformError(
                "a backfill goes by the schedule, and there is none: start the platform with ZHIYIN_SCHEDULE=@daily "
                "(and ZHIYIN_SCHEDULE_UNTIL=DATE where the log has ended)."
            )
        self._check_dataset()
        backfill_id, runs = self.api.backfill(DAG_ID, first.date, last.date, again)
        if not runs:
            raise PlatformError(f"no day from {first.date} to {last.date} is left to run; --again repeats them.")
        failed = [run_id for run_id in runs if not follow(self.api, DAG_ID, run_id, self.console)]
        scheduler = servers.airflow_servers(self.settings)[2]
        with self.console.status("waiting for the scheduler to close the backfill"):
            servers.wait_until(self.settings, scheduler, lambda: self.api.backfill_ended(backfill_id))
        if failed:
            raise PlatformError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")

    def run_unless_done(self, clock: Clock) -> None:
        runs = [run for run in self.all() if as_of(run) == clock.date]
        unfinished = [run["dag_run_id"] for run in runs if run["state"] in ("queued", "running")]
        done = RunReports.of(self.settings, clock).decision_path.is_file()
        if done and any(run["state"] == "success" for run in runs):
            self.console.print(f"The run for {clock.date} is done; `zhiyin run --as-of {clock.date}` repeats it.")
        elif unfinished:
            self.console.print("An earlier run was interrupted; it resumes.")
            self._follow(clock, unfinished[0])
        else:
            self.run(clock)

    def all(self, order_by: str = "-run_after") -> list[dict[str, Any]]:
        """Runs of this dataset; scheduled runs do not name theirs and are included."""
        ours = self.settings.dataset
        return [run for run in self.api.runs(DAG_ID, order_by) if (run["conf"] or {}).get("dataset", ours) == ours]

    def _check_dataset(self) -> None:
        """Raise when Airflow was started for another dataset, since its tasks use that one."""
        tags = {tag["name"] for tag in self.api.call("GET", f"/dags/{DAG_ID}")["tags"]}
        if self.settings.dataset not in tags:
            theirs = ", ".join(tags - {"zhiyin"})
            raise PlatformError(
                f"Airflow is up for {theirs}, not for {self.settings.dataset}: `zhiyin down`, then "
                f"`zhiyin up --dataset {self.settings.dataset}`."
            )

    def _follow(self, clock: Clock, run_id: str) -> None:
        try:
            succeeded = follow(self.api, DAG_ID, run_id, self.console)
        except KeyboardInterrupt:
            self.console.print(f"\nThe run {run_id} continues while Airflow is up; `zhiyin status` shows its state.")
            raise
        if not succeeded:
            airflow, *_ = servers.airflow_servers(self.settings)
            address = f"{servers.url(self.settings, airflow)}/dags/{DAG_ID}/runs/{run_id}"
            raise PlatformError(f"the run {run_id} failed; see {address}")
        self._say_scores(clock)

    def _say_scores(self, clock: Clock) -> None:
        """Print the evaluation's main figures, and why the gate refused the challenger, if it did."""
        reports = RunReports.of(self.settings, clock)
        evaluation, decision = reports.leaderboard(registry.challenger(self.settings, clock)), reports.decision()
        if evaluation is None or decision is None:
            return
        table = Table("", "NDCG@10", "95 %", title=f"evaluated on the {clock.label_days} days before {clock.date}")
        for name, row in evaluation["models"].items():
            ndcg = row["ndcg@10"]
            table.add_row(name, f"{ndcg['mean']:.4f}", f"{ndcg['low']:.4f} to {ndcg['high']:.4f}")
        self.console.print(table)
        if not decision.promote:
            reasons = escape("; ".join(decision.refusals))
            self.console.print(f"[yellow]The challenger was refused:[/] {reasons}")


def as_of(run: dict[str, Any]) -> str | None:
    """The day of a run: the one it was triggered for, or the end of its data interval."""
    return (run["conf"] or {}).get("as_of") or (run["data_interval_end"] or "")[:10] or None
