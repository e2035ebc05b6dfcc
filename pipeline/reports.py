"""The reports of a run: every path below ``reports/<as_of>/``, and what the steps write and read there."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zhiyin.clock import Clock
from zhiyin.registry import Decision
from zhiyin.settings import Settings
from zhiyin.store import atomic_file, read_json, write_json
from zhiyin.store.sql import write_table

if TYPE_CHECKING:
    from training.evaluation.leaderboard import Evaluation


@dataclass(frozen=True)
class RunReports:
    """The reports of the run of one ``as_of``."""

    folder: Path

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> "RunReports":
        return cls(settings.reports / clock.date)

    def leaderboard_path(self, digest: str) -> Path:
        """The evaluation of a bundle as JSON; the page beside it has the same name."""
        return self.folder / f"leaderboard-{digest[:12]}.json"

    @property
    def decision_path(self) -> Path:
        return self.folder / "gate.json"

    @property
    def review_path(self) -> Path:
        """The page that leads to the reports of the run."""
        return self.folder / "index.html"

    def write_leaderboard(self, evaluation: "Evaluation") -> dict[str, Any]:
        """Keep an evaluation: ``leaderboard-<digest>.json``, the same as a page, and as Parquet every user's figure
        (``users-<digest>``), the lists (``lists-<digest>``), what was right (``truth-<digest>``) and who and what is
        in each slice (``slices-<digest>``).

        Returns what the JSON holds: the report, with the paths of the tables as ``<table>_file``.
        """
        from training.evaluation.page import leaderboard_page  # it loads torch, which the command line can spare

        report = dict(evaluation.report)
        digest = report["bundle"][:12]
        for kind, table in evaluation.tables.items():
            path = self.folder / f"{kind}-{digest}.parquet"
            with atomic_file(path) as temporary:
                write_table(table, temporary)
            report[f"{kind}_file"] = str(path)
        path = self.leaderboard_path(digest)
        write_json(path, report)
        with atomic_file(path.with_suffix(".html")) as temporary:
            temporary.write_text(leaderboard_page(report))
        return report

    def leaderboard(self, digest: str) -> dict[str, Any] | None:
        """What the evaluation of a bundle said; None where it was not evaluated in this run."""
        path = self.leaderboard_path(digest)
        return dict(read_json(path)) if path.is_file() else None

    def write_refit(self, facts: dict[str, Any]) -> None:
        """Keep what the checks of the refitted bundle found."""
        write_json(self.folder / "refit.json", facts)

    def write_decision(self, decision: Decision) -> None:
        write_json(self.decision_path, decision.record())

    def decision(self) -> Decision | None:
        """What the gate decided; None where it has not."""
        return Decision.read(read_json(self.decision_path)) if self.decision_path.is_file() else None
