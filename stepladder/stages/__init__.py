"""The stages of ``dvc.yaml``: each reads declared files and writes declared files."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import MappingProxyType

from stepladder.errors import StepladderError
from stepladder.failures import explained
from stepladder.stages.workspace import Workspace

# Stage name -> module with a `run`. Those of ALL_TASKS take the workspace alone, the others a task too.
ALL_TASKS = frozenset({"evaluate"})
STAGES = MappingProxyType(
    {
        "validate": "validate",
        "prepare": "prepare",
        "index": "index",
        "evaluate": "evaluate",
        "diagnose": "diagnose",
        "finetune": "finetune",
        "evaluate-tuned": "evaluate_tuned",
        "verdict": "verdict",
        "report": "report",
    }
)


def run_stage(name: str, workspace: Workspace, task: str | None) -> None:
    """Run one stage, for one task where it is a stage of one task.

    Raises:
        StepladderError: no such stage, a task is missing, a parameter is of no task, or the stage fails.
    """
    if name not in STAGES:
        raise StepladderError(f"no stage named {name!r}", remedy=f"use one of {', '.join(STAGES)}")
    run: Callable[..., None] = import_module(f"stepladder.stages.{STAGES[name]}").run
    if name not in ALL_TASKS and task is None:
        raise StepladderError(f"stage {name} works on one task", remedy=f"stepladder stage {name} TASK")
    workspace.require_known_tasks()
    with explained():
        run(workspace, *([] if name in ALL_TASKS else [task]))
