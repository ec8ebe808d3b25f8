"""Compare two registered releases on the cases that both were asked."""

from __future__ import annotations

from stepladder.errors import StepladderError
from stepladder.evaluation.evaluate import rescored
from stepladder.evaluation.records import RungOutcomes
from stepladder.ladder.compare import ReleaseComparison, compare_releases
from stepladder.releases import CHALLENGER, OUTCOMES, fetch, use_mlflow
from stepladder.stages.workspace import Workspace, load


def compare(workspace: Workspace, before: str, after: str) -> ReleaseComparison:
    """``after`` minus ``before``, scored as the task scores now; each is ``TASK``, ``TASK@alias`` or
    ``TASK@version``.

    Raises:
        StepladderError: they are of different tasks, not registered, share no case, or cannot be scored.
    """
    (task, _), (other, _) = _named(before), _named(after)
    if task != other:
        raise StepladderError(
            f"{before} and {after} are releases of different tasks", remedy="compare two of one task"
        )
    use_mlflow(workspace.settings.mlflow)
    present = workspace.task(task)
    with workspace.responses() as cache:
        return compare_releases(
            (before, _outcomes(workspace, before)),
            (after, _outcomes(workspace, after)),
            workspace.settings.evaluation,
            lambda said: rescored(present, said, cache),
            workspace.settings.seed,
        )


def _named(release: str) -> tuple[str, str]:
    task, _, which = release.partition("@")
    return task, which or CHALLENGER


def _outcomes(workspace: Workspace, release: str) -> RungOutcomes:
    task, which = _named(release)
    folder = fetch(task, which, workspace.releases).folder
    if not (folder / OUTCOMES).is_file():
        raise StepladderError(
            "this release was registered without what it said for each case",
            where=release,
            remedy="register it again: `stepladder climb`",
        )
    return load(RungOutcomes, folder / OUTCOMES)
