"""The release that serves, as the verdict weighs a winner against it: what it said for the same cases."""

from __future__ import annotations

from typing import NamedTuple

from stepladder.console import say
from stepladder.evaluation.looks import case_set_digest, store_is_missing
from stepladder.evaluation.records import RungOutcomes
from stepladder.releases import CHAMPION, OUTCOMES, Registered, fetch, use_mlflow, with_alias
from stepladder.stages.workspace import Workspace, load


class Champion(NamedTuple):
    """The registry's version, and what it said for each case."""

    version: str
    outcomes: RungOutcomes


def champion_of(workspace: Workspace, name: str, present: RungOutcomes) -> Champion | None:
    """The champion, or None where nothing serves or it was asked other cases than ``present``.

    Raises:
        StepladderError: MLflow does not answer.
    """
    mlflow = workspace.settings.mlflow
    if store_is_missing(mlflow.tracking_uri, workspace.root):
        return None
    use_mlflow(mlflow)
    found = with_alias(name, CHAMPION, workspace.releases)
    return _comparable(found, present) if found else None


def champion_at(workspace: Workspace, name: str, version: str, present: RungOutcomes) -> Champion | None:
    """The release that was the champion when a verdict was reached."""
    use_mlflow(workspace.settings.mlflow)
    return _comparable(fetch(name, version, workspace.releases), present)


def _comparable(found: Registered, present: RungOutcomes) -> Champion | None:
    path = found.folder / OUTCOMES
    said = load(RungOutcomes, path) if path.is_file() else None
    if said is None or case_set_digest({"": said}) != case_set_digest({"": present}):
        say(f"the champion, version {found.version}, was asked other cases: nothing is weighed against it")
        return None
    return Champion(found.version, said)
