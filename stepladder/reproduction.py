"""``dvc repro`` in a process of its own, whose failures are told once and plainly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from stepladder.errors import MAY_PASS, StepladderError
from stepladder.failures import explained, first_line

_INTERRUPTED = 130  # 128 + SIGINT, as shells tell it
_BY_SIGNAL = 128  # what shells add to a signal's number
# How DVC tells the way in which a stage's command ended.
EXIT_CODE = re.compile(r"failed to run: .*exited with (-?\d+)", re.DOTALL)
_KEPT = "run the same command again: finished stages are kept"


def reproduce(root: Path, *, force: bool = False, only: Sequence[str] = ()) -> None:
    """Run the stale stages of ``dvc.yaml``; what they and DVC say goes to standard error.

    Args:
        root: the project's folder.
        force: run every stage, stale or not.
        only: run these stages alone, in this order, stale or not.

    Raises:
        SystemExit: a stage or DVC failed and has said why; the exit code is the stage's.
        StepladderError: DVC was killed.
    """
    command = [sys.executable, "-m", "stepladder.reproduction", *(["--force"] if force else []), *only]
    # Stages call `python`: let it be the one that runs now, whether or not its environment is activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    process = subprocess.Popen(command, cwd=root, env={**os.environ, "PATH": path}, stdout=sys.stderr)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # The stage got the signal too: let it end its engine before the prompt comes back.
        print("ending the stage", file=sys.stderr)
        process.wait()
        raise
    if code < 0:
        raise StepladderError(f"DVC was killed by signal {-code}", remedy=_KEPT, may_pass=True)
    if code:
        raise SystemExit(code)


def _reproduce_here(*, force: bool, only: Sequence[str]) -> int:
    """The same in this process, which is given up for it.

    Returns:
        The exit code: that of the stage that failed, else 1.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with explained(), Repo() as repo:
            for stage in only:
                repo.reproduce(stage, single_item=True, force=True)
            if not only:
                repo.reproduce(force=force)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except StepladderError as error:
        told = error
    except DvcException as error:
        code = _exit_code(error)
        if code is not None and not _was_killed(code):
            return code  # the stage has said why
        told = _told(error, code)
    else:
        return 0
    typer.secho(f"error: {told}", fg="red", err=True)
    return MAY_PASS if told.may_pass else 1


def _exit_code(error: Exception) -> int | None:
    """How a stage's command ended; None where something else failed."""
    found = EXIT_CODE.search(str(error.__cause__))
    return int(found[1]) if found else None


def _was_killed(code: int) -> bool:
    return code < 0 or (code > _BY_SIGNAL and code != _INTERRUPTED)


def _told(error: Exception, code: int | None) -> StepladderError:
    what = first_line(error)
    if code is None:
        why = f": {first_line(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
        return StepladderError(f"{what}{why}", where="dvc repro", remedy=f"mend what it names and {_KEPT}")
    number = -code if code < 0 else code - _BY_SIGNAL
    return StepladderError(
        f"{what}: it was killed by signal {number}",
        where="dvc repro",
        remedy=f"free some memory, if the system killed it for want of it (signal 9), and {_KEPT}",
        may_pass=True,
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(_reproduce_here(force="--force" in given, only=[one for one in given if one != "--force"]))
