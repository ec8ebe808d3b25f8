"""git and DVC as commands, and what they say where they fail."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stepladder.errors import StepladderError

# The committer is the machine: people's hooks and names stay out of it.
AUTHOR = ("-c", "user.name=Stepladder", "-c", "user.email=stepladder@localhost")

_LOCK_WAIT_S = 60.0
_GRACE_S = 5.0


def git(folder: Path, *arguments: str) -> str:
    """The output of a git command, stripped.

    Raises:
        StepladderError: it failed.
    """
    return _run(folder, ["git", *arguments])


def dvc(folder: Path, *arguments: str) -> str:
    """The output of a dvc command, stripped.

    Raises:
        StepladderError: it failed.
    """
    return _run(folder, [sys.executable, "-m", "dvc", *arguments])


def _run(folder: Path, command: Sequence[str]) -> str:
    """The output of a command; while another process holds its lock, it is tried again."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        done = _done(folder, command)
        if done.returncode == 0:
            return done.stdout.strip()
        said = (done.stderr or done.stdout).strip()
        if "lock" not in said.lower() or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    told = " ".join(command[2:4] if command[1] == "-m" else command[:2])
    raise StepladderError(
        f"{told} failed: {said[-1000:]}",
        where=str(folder.resolve()),
        remedy="mend that, then run the same again: it goes on where it stopped",
    )


def _done(folder: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command. Where this is cancelled it is asked to end: git, killed, leaves its ``index.lock``."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            process.terminate()
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
