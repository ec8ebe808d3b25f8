"""The project that flows work for, from any folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.dag import stage_environment
from stepladder.evaluation.looks import absolute
from stepladder.settings import Flows, Settings, load_settings


@dataclass(frozen=True)
class Place:
    """A project's folder and its settings."""

    project: Path
    settings: Settings

    @property
    def flows(self) -> Flows:
        """What flows may do."""
        return self.settings.flows

    @property
    def workspace(self) -> Path:
        """The folder for clones and what they keep."""
        return self.project / self.flows.workspace

    @property
    def environment(self) -> dict[str, str]:
        """What a stage in a clone runs with: it records to the project's MLflow."""
        return stage_environment(MLFLOW_TRACKING_URI=self.tracking_uri)

    @property
    def tracking_uri(self) -> str:
        """MLflow's, the same from any folder."""
        return absolute(self.settings.mlflow.tracking_uri, self.project)

    def in_clone(self, clone: Path) -> Settings:
        """The settings of a clone, with the project's MLflow."""
        found = load_settings(clone / "params.yaml")
        mlflow = found.mlflow.model_copy(update={"tracking_uri": self.tracking_uri})
        return found.model_copy(update={"mlflow": mlflow})


def here() -> Place:
    """The project in this folder.

    Raises:
        StepladderError: there is none.
    """
    return Place(Path.cwd(), load_settings())
