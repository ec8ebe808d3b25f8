"""The release that serves, as the verdict weighs a winner against it: what it said for the same cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stepladder.errors import StepladderError
from stepladder.evaluation.evaluate import rescored
from stepladder.evaluation.looks import store_is_missing
from stepladder.evaluation.records import RungOutcomes
from stepladder.ladder.evidence import Unweighed
from stepladder.ladder.form import Verdict
from stepladder.promotion import standing
from stepladder.releases import CHAMPION, OUTCOMES, VERDICT, Registered, fetch, use_mlflow, with_alias
from stepladder.stages.rungs import index_version
from stepladder.stages.workspace import Workspace, load

LEAST_SHARED = 0.5  # share of the present cases from which the champion can be compared on those it was asked
CHAMPION_RESPONSES = "champion_responses"  # a verdict's digest of what ``stepladder evaluate`` kept


class Champion(NamedTuple):
    """The registry's version, what it said for those of the present cases that it was asked, and whether it
    retrieves from documents that have changed since.

    ``evaluated``: whether it said so to ``stepladder evaluate``, and not in the climb that registered it.
    """

    version: str
    said: RungOutcomes | Unweighed
    outdated: bool
    evaluated: bool = False


def champion_version(workspace: Workspace, name: str) -> str | None:
    """The version that serves, or None; no file of it is fetched.

    Raises:
        StepladderError: MLflow does not answer.
    """
    return standing(name).champion if _has_registry(workspace) else None


def champion_of(workspace: Workspace, name: str, present: RungOutcomes) -> Champion | None:
    """The champion, or None where nothing serves.

    Raises:
        StepladderError: MLflow does not answer.
    """
    if not _has_registry(workspace):
        return None
    found = with_alias(name, CHAMPION, workspace.releases)
    return _weighable(workspace, found, present, _kept(workspace, found, present)) if found else None


def _has_registry(workspace: Workspace) -> bool:
    """Whether MLflow's store is there, and set up; to look for a champion must not make it."""
    mlflow = workspace.settings.mlflow
    if store_is_missing(mlflow.tracking_uri, workspace.root):
        return False
    use_mlflow(mlflow)
    return True


def champion_at(
    workspace: Workspace, name: str, version: str, present: RungOutcomes, *, evaluated: bool = False
) -> Champion:
    """The release that was the champion when a verdict was reached.

    Args:
        workspace: of the verdict.
        name: the task.
        version: of the release.
        present: a rung of the verdict, for its cases.
        evaluated: whether the verdict took what ``stepladder evaluate`` kept of it.

    Raises:
        StepladderError: MLflow does not answer, or what was taken is not there.
    """
    use_mlflow(workspace.settings.mlflow)
    found = fetch(name, version, workspace.releases)
    kept = _kept(workspace, found, present) if evaluated else None
    if evaluated and kept is None:
        raise StepladderError(
            f"the verdict rests on what version {version} said to the present cases, which is not kept here",
            where=str(workspace.evaluated(name, found.release.digest, present.case_digest)),
            remedy=f"`stepladder evaluate {name}@{version}` asks it again; known responses cost nothing",
        )
    return _weighable(workspace, found, present, kept)


def _kept(workspace: Workspace, found: Registered, present: RungOutcomes) -> RungOutcomes | None:
    """What ``stepladder evaluate`` kept of it for these very cases."""
    path = workspace.evaluated(found.release.task, found.release.digest, present.case_digest)
    return load(RungOutcomes, path) if path.is_file() else None


def _weighable(
    workspace: Workspace, found: Registered, present: RungOutcomes, kept: RungOutcomes | None
) -> Champion:
    said = _said(workspace, found, present, kept)
    return Champion(found.version, said, _is_outdated(workspace, found), kept is not None)


def _said(
    workspace: Workspace, found: Registered, present: RungOutcomes, kept: RungOutcomes | None
) -> RungOutcomes | Unweighed:
    task, path = workspace.task(found.release.task), found.folder / OUTCOMES
    if kept is None and not path.is_file():
        why = f"its release, version {found.version}, was registered without outcomes; {_to_do(task.name)}"
        return Unweighed(found.release.plan.rung, why)
    asked = kept or load(RungOutcomes, path)
    with workspace.responses() as cache:
        return on_present_cases(asked, present, lambda said: rescored(task, said, cache))


def _to_do(task: str) -> str:
    return f"`stepladder evaluate {task}@{CHAMPION}` asks it these, or its alias can be taken away"


def _is_outdated(workspace: Workspace, found: Registered) -> bool:
    """Whether its index is of other documents. Another index of the same ones is a choice, and no news."""
    release = found.release
    if release.index_version is None or release.index_version == index_version(workspace, release.task):
        return False
    then = load(Verdict, found.folder / VERDICT).digests.get("knowledge")
    return then != workspace.task(release.task).digests().get("knowledge")


def on_present_cases(
    said: RungOutcomes, present: RungOutcomes, rescore: Callable[[RungOutcomes], RungOutcomes]
) -> RungOutcomes | Unweighed:
    """What the champion said for those of the present cases that it was asked, if they are half of them.

    A case is the same where its ``identity`` is; slice and cluster are the present ones. Scores are those
    that ``rescore`` gives, of the present task: the stored ones may be of another scorer or judge.

    Raises:
        StepladderError: the task's scorer cannot read a case, or its judge is not that of ``present``.
    """
    asked = {one.identity: one for one in said.outcomes}
    shared = [
        asked[one.identity].model_copy(update={"slice": one.slice, "cluster": one.cluster})
        for one in present.outcomes
        if one.identity in asked
    ]
    cases = len(present.outcomes)
    if len(shared) < LEAST_SHARED * cases:
        why = f"it was asked {len(shared):,} of these {cases:,} cases, too few to compare it on"
        return Unweighed(str(said.rung), f"{why}; {_to_do(said.task)}")
    now = rescore(said.model_copy(update={"outcomes": shared}))
    if now.judge != present.judge:
        raise StepladderError(
            "the judge is not the one that gave the stored scores, or its labels changed",
            where=f"{present.task}, rung {present.rung}",
            remedy="`dvc repro --force` measures again",
        )
    return now
