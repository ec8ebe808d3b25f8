"""What a climb leaves behind: data in DVC's cache and remote, and ``dvc.lock`` on a branch ``runs/<run>``."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from flows.clone import uncached_outputs
from flows.dag import stage_environment
from flows.process import run
from stepladder.data.git import AUTHOR, git
from stepladder.errors import StepladderError


def run_name(now: datetime, commit: str) -> str:
    """A climb's name: the time to the second, and its commit."""
    return f"{now:%Y%m%d-%H%M%S}-{commit[:7]}"


def push_data(clone: Path, timeout_s: float) -> bool:
    """Push what the stages made to the DVC remote; False where there is none.

    Raises:
        StepladderError: DVC could not, which may pass, or not within ``timeout_s`` seconds.
    """
    from dvc.repo import Repo

    with Repo(str(clone)) as repo:
        if not repo.config["core"].get("remote"):
            return False
    said: list[str] = []
    command = [sys.executable, "-m", "dvc", "push"]
    if run(command, clone, stage_environment(), said.append, timeout_s):
        raise StepladderError(
            f"dvc push failed: {' '.join(said)[-1000:]}",
            where=str(clone),
            remedy="see that the remote is there (`dvc remote list`), then climb again",
            may_pass=True,
        )
    return True


def commit_run(clone: Path, name: str, message: str) -> str:
    """Commit ``dvc.lock`` and the metrics that DVC leaves to git, as branch ``runs/<name>`` of the project.

    Again it commits nothing more.

    Returns:
        The commit's id.

    Raises:
        StepladderError: git failed.
    """
    paths = ["dvc.lock", *uncached_outputs(clone)]
    if git(clone, "log", "-1", "--format=%B") != message:
        git(clone, "add", "--force", "--", *[path for path in paths if (clone / path).exists()])
        git(clone, *AUTHOR, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)
    git(clone, "push", "--quiet", "--no-verify", "origin", f"HEAD:refs/heads/runs/{name}")
    return git(clone, "rev-parse", "HEAD")
