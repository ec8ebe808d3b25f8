"""A dataset's versions: DVC for the content, git for the history.

What git tracks stays with git; everything else is given to DVC. The commit holds the dataset's paths and
nothing else that may be staged or changed in the checkout.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepladder.data.git import AUTHOR, dvc, git
from stepladder.errors import StepladderError

TRAILER = "Stepladder-Batch"
PARTS = ("cases.jsonl", "examples.jsonl", "knowledge")


def require_repository(root: Path) -> None:
    """Stop where versions cannot be recorded.

    Raises:
        StepladderError: the project is no git repository with a commit, or not set up for DVC.
    """
    try:
        git(root, "rev-parse", "--verify", "-q", "HEAD^{commit}")
    except StepladderError as error:
        raise StepladderError(
            "no git repository with a commit",
            where=str(root.resolve()),
            remedy="git init, and commit the project",
        ) from error
    if not (root / ".dvc").is_dir():
        raise StepladderError("DVC is not set up here", where=str(root.resolve()), remedy="dvc init")


def require_checked_out(root: Path, task: str) -> None:
    """Stop where a dataset is not what DVC recorded of it: a missing one would be taken for an empty one.

    Raises:
        StepladderError: a part of it is missing, or was changed and not recorded.
    """
    paths = [f"tasks/{task}/{part}" for part in PARTS]
    recorded = [path for path in paths if (root / f"{path}.dvc").is_file()]
    if not recorded:
        return
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        outs = list(repo.index.outs)
        here = {path: repo.find_outs_by_path(str(root / path), outs)[0] for path in recorded}
        found = {path: out.workspace_status() for path, out in here.items()}
    if faults := [f"{path} ({next(iter(said.values()))})" for path, said in found.items() if said]:
        raise StepladderError(
            f"the dataset is not checked out as it is recorded: {', '.join(faults)}",
            where=str(root.resolve()),
            remedy="`dvc checkout` or `dvc pull` brings back what is recorded; `dvc add` and a commit record"
            " an edit of yours. What waits in the inbox is taken then",
        )


def store(root: Path, paths: Sequence[str]) -> None:
    """Put the content of paths into DVC's cache and push it to the remote, where there is one.

    Args:
        root: the project.
        paths: files and folders of the dataset, relative to the project.

    Raises:
        StepladderError: DVC failed.
    """
    mine = [path for path in paths if not _in_git(root, path)]
    if not mine:
        return
    dvc(root, "add", "--quiet", *mine)
    if _has_remote(root):
        dvc(root, "push", "--quiet", *mine)


def commit(root: Path, paths: Sequence[str], message: str, batch: str) -> str:
    """Commit the version of paths; the batch's commit, if it was made before.

    Returns:
        The commit's id.

    Raises:
        StepladderError: git failed.
    """
    named = f"^{TRAILER}: {batch}$"
    if done := git(root, "log", "-1", "--format=%H", f"--grep={named}"):
        return done
    files = [name for path in paths for name in _version_files(root, path)]
    git(root, "add", "--", *files)
    text = f"{message}\n\n{TRAILER}: {batch}\n"
    git(
        root,
        *AUTHOR,
        "commit",
        "--quiet",
        "--no-verify",
        "--allow-empty",
        "--message",
        text,
        "--only",
        "--",
        *files,
    )
    return git(root, "rev-parse", "HEAD")


def tag(root: Path, name: str, commit_id: str) -> None:
    """Tag a commit; again is the same.

    Raises:
        StepladderError: git failed.
    """
    git(root, *AUTHOR, "tag", "--force", "--annotate", "--message", name, name, commit_id)


def _version_files(root: Path, path: str) -> list[str]:
    """What git commits of a path: itself, or DVC's file for it and the ignore file that DVC wrote."""
    if _in_git(root, path):
        return [path]
    beside = (Path(path).parent / ".gitignore").as_posix()
    return [f"{path}.dvc", *([beside] if (root / beside).is_file() else [])]


def _in_git(root: Path, path: str) -> bool:
    return bool(git(root, "ls-files", "--", path))


def _has_remote(root: Path) -> bool:
    from dvc.config import Config

    return bool(Config(dvc_dir=str(root / ".dvc"))["core"].get("remote"))
