"""git, and what it says where it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stepladder.errors import StepladderError

# The committer is the machine: people's hooks and names stay out of it.
AUTHOR = ("-c", "user.name=Stepladder", "-c", "user.email=stepladder@localhost")


def git(folder: Path, *arguments: str) -> str:
    """The output of a git command, stripped.

    Raises:
        StepladderError: it failed.
    """
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise StepladderError(
            f"git {' '.join(arguments)} failed: {said[-1000:]}",
            where=str(folder),
            remedy="mend what git names, then run it again",
        )
    return done.stdout.strip()
