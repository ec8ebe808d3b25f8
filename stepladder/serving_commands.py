"""The commands ``stepladder promote``, ``rollback``, ``status`` and ``serve``."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepladder.promotion import Move, Standing
    from stepladder.serving_record import ServingRecord, TaskRecord
    from stepladder.stages.workspace import Workspace

AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
TaskName = Annotated[str, typer.Argument(help="a task named in params.yaml")]
Release = Annotated[str | None, typer.Argument(help="a version or alias; default: challenger")]
Wait = Annotated[float | None, typer.Option(help="seconds to wait until a gateway answers by it")]
_PAUSE_S = 2.0
_WELL_AFTER_S = 60.0
_MOST_PAUSE_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands to the command."""
    for command in (promote, rollback, canary, status, serve):
        app.command()(command)


def promote(
    task: TaskName,
    release: Release = None,
    wait: Wait = None,
) -> None:
    """Make a release the champion: a gateway that runs lets it answer once its smoke cases pass."""
    from stepladder.going_live import promote_and_wait
    from stepladder.promotion import promote as make_champion

    _use_registry(_workspace(), task)
    _tell_move(make_champion(task, release) if wait is None else promote_and_wait(task, release, wait), wait)


def rollback(task: TaskName, wait: Wait = None) -> None:
    """Make the champion before this one the champion again."""
    from stepladder.going_live import rollback_and_wait
    from stepladder.promotion import rollback as go_back

    _use_registry(_workspace(), task)
    _tell_move(go_back(task) if wait is None else rollback_and_wait(task, wait), wait)


def canary(
    task: TaskName,
    release: Release = None,
    share: Annotated[
        float, typer.Option(min=0.001, max=1, help="of users and conversations; all of them only unseen")
    ] = 0.1,
    shadow: Annotated[bool, typer.Option(help="answer beside the champion, seen by nobody")] = False,
    stop: Annotated[bool, typer.Option(help="end the trial that runs")] = False,
) -> None:
    """Try a challenger on a share of the requests: what they show promotes it, or sends it back."""
    from stepladder.promotion import standing
    from stepladder.releases import CHALLENGER
    from stepladder.trial import end_trial, try_out

    _use_registry(_workspace(), task)
    if stop:
        challenger = standing(task).find(standing(task).challenger)
        if challenger and challenger.share:
            end_trial(task, challenger.version, "ended by hand")
        typer.echo(f"{task}: no {CHALLENGER} is tried")
        return
    chosen = try_out(task, release, share, shadow=shadow)
    how = "unseen, on" if shadow else "on"
    typer.echo(f"{task}: version {chosen.version} is tried {how} {share:.1%} of users and conversations")


def status(as_json: AsJson = False) -> None:
    """Tell, for each task, which release is wanted, which one answers, and why they differ."""
    from stepladder.serving_record import RECORD, read_record

    workspace = _workspace()
    record = read_record(workspace.scratch / RECORD)
    standings, silence = _standings(workspace, record)
    running = record is not None and record.is_fresh
    there = record.tasks if record and running else {}
    tasks = {task: _condition(wanted, there.get(task), running) for task, wanted in standings.items()}
    if as_json:
        import json

        typer.echo(json.dumps({"running": running, "registry": silence, "tasks": tasks}, indent=2))
        return
    if not running:
        typer.echo("no gateway runs here: `stepladder serve` starts one")
    if silence:
        typer.echo(f"the registry is away, this is as last known: {silence}")
    for task, one in tasks.items():
        typer.echo(
            f"{task}: wanted {_number(one['wanted'])}, answers {_number(one['answers'])}: {one['why']}"
        )
        if one["tried"]:
            typer.echo(f"{task}: {one['tried']}")


def serve(
    challengers: Annotated[
        bool, typer.Option(help="let the challenger answer for a task without a champion")
    ] = False,
    engine_url: Annotated[
        list[str] | None, typer.Option(help="servers that have the models loaded, instead of starting vLLM")
    ] = None,
) -> None:
    """Serve the champions: gateway, engines and reconciler, until Ctrl-C. One that dies is started again."""
    options = ["--challengers"] if challengers else []
    options += [part for url in engine_url or [] for part in ("--engine-url", url)]
    raise typer.Exit(_keep_running([sys.executable, "-m", "serving", *options]))


def _workspace() -> Workspace:
    from stepladder.stages.workspace import open_workspace

    return open_workspace(Path())


def _use_registry(workspace: Workspace, task: str) -> None:
    from stepladder.errors import StepladderError
    from stepladder.releases import use_mlflow

    if task not in workspace.settings.tasks:
        raise StepladderError(
            f"no task named {task!r}",
            where="tasks in params.yaml",
            remedy=f"use one of {', '.join(workspace.settings.tasks)}, or add it there",
        )
    use_mlflow(workspace.settings.mlflow)


def _tell_move(move: Move, waited: float | None) -> None:
    if move.before == move.after:
        typer.echo(f"{move.task}: version {move.after} is the champion already")
        return
    before = f" (before: version {move.before})" if move.before else ""
    typer.echo(f"{move.task}: version {move.after} is the champion{before}")
    typer.echo("it answers now" if waited is not None else "`stepladder status` tells when it answers")


def _standings(workspace: Workspace, record: ServingRecord | None) -> tuple[dict[str, Standing], str | None]:
    """What the registry says now; where it does not answer, what a gateway last knew, and why."""
    from stepladder.failures import first_line
    from stepladder.promotion import Standing, standing
    from stepladder.releases import use_mlflow

    tasks = workspace.settings.tasks
    try:
        use_mlflow(workspace.settings.mlflow)
        return {task: standing(task) for task in tasks}, None
    except Exception as error:  # MLflow's, its database's, its server's
        known = record.tasks if record else {}
        found = {task: known[task].wanted if task in known else Standing() for task in tasks}
        return found, first_line(error)


def _condition(wanted: Standing, there: TaskRecord | None, running: bool) -> dict[str, str | None]:
    answering = there.answering if there else None
    champion = wanted.champion
    if champion is None and there and there.wanted.stands_in:
        champion = wanted.challenger
    if there is None:
        why = "the gateway has not looked at it yet" if running else "no gateway runs here"
    elif there.wanted.champion != champion:
        why = "the gateway has not seen the change yet"
    else:
        why = there.why
    return {
        "wanted": champion,
        "previous": wanted.previous,
        "answers": answering.version if answering else None,
        "digest": answering.digest if answering else None,
        "engine": answering.engine if answering else None,
        "tried": _tried(wanted, there),
        "why": why,
    }


def _tried(wanted: Standing, there: TaskRecord | None) -> str | None:
    """What becomes of the challenger that is to be tried."""
    one = wanted.find(wanted.challenger)
    if one is None or not one.share or one.version == wanted.champion:
        return None
    how = f"tried{' unseen' if one.shadow else ''} on {one.share:.1%}"
    if there and there.trial == "as wanted":
        return f"version {one.version} is {how}"
    return f"version {one.version} is to be {how}" + (f": {there.trial}" if there and there.trial else "")


def _number(version: str | None) -> str:
    return f"version {version}" if version else "none"


def _keep_running(command: list[str]) -> int:
    """Run a command until it ends by itself; start it again when it is killed.

    Ctrl-C and SIGTERM end it, whatever it has started, and this.
    """
    from stepladder.console import say
    from stepladder.engine import die_with_parent

    ending = threading.Event()
    process: subprocess.Popen[bytes] | None = None

    def end(number: int, _frame: object) -> None:
        ending.set()
        if process and process.poll() is None:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    pause = _PAUSE_S
    while not ending.is_set():
        started = time.monotonic()
        # A session of its own: a Ctrl-C reaches it once, through `end`.
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent())  # noqa: PLW1509
        if ending.is_set():  # the signal came before there was a process to pass it on to
            process.terminate()
        code = process.wait()
        if ending.is_set():
            break
        if code >= 0:  # it said itself what is wrong: another start would not mend that
            return code
        if time.monotonic() - started > _WELL_AFTER_S:
            pause = _PAUSE_S
        say(f"the gateway was ended by signal {-code}; starting it again in {pause:.0f} s")
        ending.wait(pause)
        pause = min(_MOST_PAUSE_S, 2 * pause)
    return 0
