"""Models, tasks, versions: what a climb reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from threading import Thread

from stepladder.doctor.finding import Finding, fail, ok, warn
from stepladder.errors import StepladderError
from stepladder.models import local_folder, require_base
from stepladder.settings import Settings

_REMOTE_WAIT_S = 6.0


def check_base(settings: Settings) -> Finding:
    """The base model's files: all there, and whole."""
    base = settings.models.base
    if not local_folder(base):
        return ok("base model", f"{base}, from the hub")
    try:
        folder = Path(require_base(base))
        sizes = [_check_weights(path) for path in _weights(folder)]
    except (StepladderError, OSError, ValueError) as error:
        return fail("base model", str(error).splitlines()[0], f"delete {base} and run `stepladder setup`")
    if not sizes or not (folder / "tokenizer.json").is_file():
        return fail(
            "base model", f"{base} lacks weights or tokenizer.json", f"delete {base}, `stepladder setup`"
        )
    return ok("base model", f"{base}, {sum(sizes) / 1e6:.0f} MB")


def _weights(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]


def _check_weights(path: Path) -> int:
    """A safetensors file's size, bytes; its header says how many there must be."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path} is cut short")
        header = json.loads(file.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    whole, there = 8 + length + max(ends, default=0), path.stat().st_size
    if whole != there:
        raise ValueError(f"{path} has {there:,} bytes where its header promises {whole:,}")
    return there


def check_embedder(settings: Settings) -> Finding:
    """The embedder's folder, where it is not on a hub."""
    from stepladder.knowledge.locate import model_folder

    name = settings.models.embedder
    if not name.startswith("packaged:") and not local_folder(name):
        return ok("embedder", f"{name}, from the hub")
    try:
        model_folder(name)
    except StepladderError as error:
        return fail("embedder", error.what, error.remedy)
    return ok("embedder", name)


def check_tasks(root: Path, settings: Settings) -> Finding:
    """Every task folder loads."""
    from stepladder.tasks import load_task

    faults = []
    for name in settings.tasks:
        try:
            load_task(root / "tasks" / name)
        except StepladderError as error:
            faults.append(error)
    if faults:
        found = "; ".join(f"{fault.where}: {fault.what}" for fault in faults)
        return fail("tasks", found, faults[0].remedy)
    return ok("tasks", f"{', '.join(settings.tasks)} load")


def check_git(root: Path) -> Finding:
    """A repository with a name to commit by, in the middle of nothing."""
    if not shutil.which("git"):
        return fail("git", "not installed", "install git")
    if _git(root, "rev-parse", "--is-inside-work-tree") != "true":
        return fail("git", "not a git repository", "git init")
    unfinished = [
        name for name in ("MERGE_HEAD", "REBASE_HEAD") if _git(root, "rev-parse", "-q", "--verify", name)
    ]
    if unfinished:
        return fail("git", f"unfinished: {', '.join(unfinished)}", "finish the merge or rebase, or abort it")
    if not _git(root, "var", "GIT_COMMITTER_IDENT"):
        return fail(
            "git", "no name to commit by, which an ingest needs", "git config user.name and user.email"
        )
    return _check_tree(root)


def _check_tree(root: Path) -> Finding:
    branch = _git(root, "symbolic-ref", "-q", "--short", "HEAD")
    if not branch:
        return warn("git", "on no branch: an ingest's commits could be lost", "git switch BRANCH")
    changed = len(_git(root, "status", "--porcelain", "--untracked-files=no").splitlines())
    if changed:
        return warn(
            "git", f"on {branch}; {changed} files not committed", "commit: flows run what is committed"
        )
    return ok("git", f"on {branch}, all committed")


def _git(root: Path, *arguments: str) -> str:
    """What git says; empty where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def check_remote(root: Path) -> Finding:
    """Whether DVC's default remote answers, within seconds."""
    answers: list[Finding] = []
    # A thread of its own: what a store's client waits for cannot be bounded otherwise.
    asking = Thread(target=lambda: answers.append(_ask_remote(root)), daemon=True)
    asking.start()
    asking.join(_REMOTE_WAIT_S)
    silent = fail(
        "DVC remote", f"no answer within {_REMOTE_WAIT_S:.0f} s", "check the network and `dvc remote list`"
    )
    return answers[0] if answers else silent


def _ask_remote(root: Path) -> Finding:
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        repo = Repo(root)
        name = repo.config["core"].get("remote")
        if not name:
            return warn("DVC remote", "none is set: data stays on this machine", "dvc remote add -d NAME URL")
        store = repo.cloud.get_remote_odb()
        # An object store has no empty folders: that its listing can be asked for is all there is to see.
        there = store.fs.exists(store.path) or store.fs.protocol != "local"
    except NotDvcRepoError:
        return fail("DVC remote", "not a DVC repository", "dvc init")
    except Exception as error:  # every store has errors of its own
        return fail(
            "DVC remote",
            f"{type(error).__name__}: {error}"[:200],
            "check `dvc remote list` and its credentials",
        )
    if not there:
        return fail(
            "DVC remote", f"{name}: {store.path} is not there", "make it or mount it, or `dvc remote modify`"
        )
    return ok("DVC remote", f"{name}: {store.path}")
