"""One command: what is stale, the verdicts, the releases, and what to do next."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from stepladder.console import results, say
from stepladder.errors import StepladderError
from stepladder.files import read_json
from stepladder.knowledge.manifest import EmbedderRecord, build_again, read_manifest
from stepladder.ladder.form import Verdict
from stepladder.models import model_digest
from stepladder.reproduction import reproduce
from stepladder.stages.workspace import Workspace, load
from stepladder.tables import print_verdicts


def climb(workspace: Workspace, *, force: bool, as_json: bool) -> None:
    """``dvc repro``, tell the verdicts, then log and register.

    Raises:
        StepladderError: a task cannot be loaded, the base model or the embedder changed, or MLflow does not
            answer.
        SystemExit: a stage failed, and has said why; what it wrote before is kept.
    """
    from stepladder.stages.release import run as release

    names = workspace.settings.tasks
    tasks = [workspace.task(name) for name in names]  # DVC would tell of a missing file in words of its own
    if not force:
        _refuse_changed_base(workspace)
        _refuse_changed_embedder(workspace, [task.name for task in tasks if task.has_knowledge])
    reproduce(workspace.root, force=force)
    _weigh_again(workspace)
    verdicts = [load(Verdict, workspace.verdict(name)) for name in names]
    # First: registering asks MLflow, which may be down.
    if as_json:
        print(json.dumps([verdict.model_dump(mode="json") for verdict in verdicts], indent=2), flush=True)
    else:
        print_verdicts(verdicts)
        _print_reports(workspace)
    for name in names:
        release(workspace, name)
    if not as_json:
        _print_next(workspace, verdicts)


def _weigh_again(workspace: Workspace) -> None:
    """Reach the verdicts again whose champion is another by now: moving an alias makes no stage stale."""
    from stepladder.stages.champion import champion_version

    names = workspace.settings.tasks
    known = {name: load(Verdict, workspace.verdict(name)).champion_release for name in names}
    try:
        moved = [name for name in names if champion_version(workspace, name) != known[name]]
    except StepladderError as error:  # verdicts are told without MLflow; to register one tells what is wrong
        say(f"which release is champion was not checked: {error.what}")
        return
    if moved:
        say(f"climb: the champion of {' and '.join(moved)} is another than at the verdict: weighing again")
        reproduce(
            workspace.root, only=[f"{stage}@{name}" for name in moved for stage in ("verdict", "report")]
        )


def _refuse_changed_base(workspace: Workspace) -> None:
    """DVC knows the base model by its name in ``params.yaml``: that other files lie there, it does not see.

    Raises:
        StepladderError: the last verdict of a task is of the same name and other files.
    """
    base = workspace.settings.models.base
    last = [read_json(path) for path in map(workspace.verdict, workspace.settings.tasks) if path.is_file()]
    known = {one["digests"]["base"] for one in last if one["sizes"].get("base") == base}
    if known and known != {model_digest(base)}:
        raise StepladderError(
            "the base model is not the one of the last verdict: its files changed",
            where=base,
            remedy="run `stepladder climb --force`, which asks and trains anew, or put that model back",
        )


def _refuse_changed_embedder(workspace: Workspace, names: Sequence[str]) -> None:
    """DVC knows the embedder by its name too.

    Raises:
        StepladderError: the index of a task was built with an embedder of the same name and other files.
    """
    from stepladder.knowledge.embed import load_embedder

    embedder = workspace.settings.models.embedder
    built = {name: _embedder_of(workspace.index(name)) for name in names}
    known = {name: one.digest for name, one in built.items() if one and one.name == embedder}
    if not known:
        return
    present = load_embedder(embedder).model_digest
    if others := [name for name, digest in known.items() if digest != present]:
        raise StepladderError(
            f"the embedder is not the one that the index of {' and '.join(others)} was built with: its files"
            " changed",
            where=embedder,
            remedy=f"run `{build_again(*others)}`, then `stepladder climb`; or put that embedder back",
        )


def _embedder_of(index: Path) -> EmbedderRecord | None:
    """What an index was built with; None where there is none yet, or one whose stage is to tell of it."""
    try:
        return read_manifest(index).embedder
    except StepladderError:
        return None


def _print_reports(workspace: Workspace) -> None:
    console = results()
    console.print()
    for name in workspace.settings.tasks:
        console.print(f"report: {workspace.report(name)}", soft_wrap=True)


def _print_next(workspace: Workspace, verdicts: Sequence[Verdict]) -> None:
    console = results()
    # As it can be typed where the environment is not activated.
    binaries = Path(os.path.relpath(Path(sys.executable).parent))

    def say_next(command: str) -> None:
        console.print(f"next:   {command}", soft_wrap=True)

    promoted = [verdict.task for verdict in verdicts if verdict.decision == "promote"]
    if promoted:
        say_next(f'{binaries / "stepladder"} ask {promoted[0]} "your question"')
    else:
        say_next(f"{binaries / 'stepladder'} verify {verdicts[0].task}")
    store = workspace.settings.mlflow.tracking_uri
    if store.startswith("sqlite:"):  # another one has a server that runs already
        say_next(f"{binaries / 'mlflow'} server --backend-store-uri {store}")
