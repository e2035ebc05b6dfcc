"""The Evidently workspace: a project per dataset, a run per report and ``as_of``."""

import uuid

from evidently.core.report import Snapshot
from evidently.sdk.models import PanelMetric, ProjectModel
from evidently.sdk.panels import bar_plot_panel
from evidently.ui.workspace import Project, Workspace

from zhiyin.clock import Clock
from zhiyin.settings import Settings

# Identifiers are derived from names, so that a repeated run replaces the first.
NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "zhiyin:monitoring")


def keep_runs(settings: Settings, clock: Clock, snapshots: dict[str, Snapshot]) -> Project:
    """Store the snapshots as the runs of ``as_of``, in place of earlier ones of the same name."""
    settings.evidently.mkdir(parents=True, exist_ok=True)
    workspace = Workspace.create(str(settings.evidently))
    project_id = uuid.uuid5(NAMES, settings.dataset)
    project = workspace.get_project(project_id) or _add_project(workspace, project_id, settings.dataset)
    for name, snapshot in snapshots.items():
        run_id = uuid.uuid5(NAMES, f"{settings.dataset}/{clock.date}/{name}")
        workspace.state.write_snapshot(project.id, run_id, snapshot.to_snapshot_model())
    return project


def _add_project(workspace: Workspace, project_id: uuid.UUID, dataset: str) -> Project:
    project = workspace.add_project(
        ProjectModel(
            id=project_id,
            name=dataset,
            description="Quality and drift of the data, and quality of the lists, by the end of each run's interval.",
        )
    )
    for tag in ("interactions", "users", "items"):
        project.dashboard.add_panel(
            bar_plot_panel(
                title=f"{tag}: share of columns that drifted",
                values=[
                    PanelMetric(
                        legend="share",
                        tags=[tag],
                        metric="evidently:metric_v2:DriftedColumnsCount",
                        metric_labels={"value_type": "share"},
                    )
                ],
                size="half",
            )
        )
    return project
