"""The stages of ``dvc.yaml``: their order, which of them are stale, and running one."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from flows.process import run
from stepladder.errors import MAY_PASS, StepladderError
from stepladder.reproduction import EXIT_CODE

if TYPE_CHECKING:
    from dvc.stage import PipelineStage, Stage

_SAID = 40  # lines of a stage that failed are told


class StageError(StepladderError):
    """A stage failed. ``may_pass``: to run it again may help."""


def stages_in_order(root: Path) -> list[str]:
    """The names of the stages of ``dvc.yaml``, each after those that it depends on."""
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    with Repo(str(root)) as repo:
        return [one.name for one in plan_repro(repo.index.graph) if _is_of(one, root)]


def is_stale(root: Path, stage: str) -> bool:
    """Whether `dvc repro` would run a stage as things stand."""
    from dvc.repo import Repo

    # Not Repo.status(stage): it takes names as the present folder has them.
    with Repo(str(root)) as repo, repo.lock:
        found = next(one for one in repo.index.stages if _is_of(one, root) and one.name == stage)
        return bool(found.status())


def _is_of(stage: Stage, root: Path) -> TypeGuard[PipelineStage]:
    from dvc.stage import PipelineStage

    return isinstance(stage, PipelineStage) and Path(stage.path) == root.resolve() / "dvc.yaml"


def run_stage(
    root: Path,
    stage: str,
    on_line: Callable[[str], None],
    timeout_s: float,
    environment: Mapping[str, str],
    is_wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Run one stage as `dvc repro` does.

    Args:
        root: a project.
        stage: as ``dvc.yaml`` names it.
        on_line: called with each line that it writes.
        timeout_s: longest that it may take.
        environment: from `stage_environment`.
        is_wanted: see `flows.process.run`.

    Raises:
        StageError: it failed.
        StepladderError: it took too long, or nobody waits for it any more.
    """
    said: deque[str] = deque(maxlen=_SAID)

    def hear(line: str) -> None:
        said.append(line)
        on_line(line)

    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
    code = run(command, root, environment, hear, timeout_s, is_wanted)
    if code:
        raise _failure(stage, code, list(said))


def stage_environment(**more: str) -> dict[str, str]:
    """What a stage runs with: this Python, lines that are written at once, and ``more``."""
    return {
        **os.environ,
        # Stages call `python`: let it be the one that runs now.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
        **more,
    }


def _failure(stage: str, code: int, said: list[str]) -> StageError:
    found = [int(match[1]) for line in said if (match := EXIT_CODE.search(line))]
    ended_with = found[-1] if found else code
    # What the stage itself tells begins so; DVC says after it only that it failed.
    starts = [number for number, line in enumerate(said) if line.startswith("error: ")]
    told = said[starts[-1] :] if starts else said
    return StageError(
        f"the stage failed (exit code {ended_with}):\n" + "\n".join(told),
        where=stage,
        remedy="mend what it names; the next climb goes on with this stage",
        may_pass=ended_with == MAY_PASS or _was_killed(ended_with),
    )


def _was_killed(code: int) -> bool:
    return code < 0 or code > 128
