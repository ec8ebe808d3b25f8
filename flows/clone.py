"""A throwaway clone of the project at a commit: where a climb works, so that nobody's checkout is touched.

<workspace>/climbs/<run>/        the clone, deleted when the climb ends; if it was killed, by the next one
<workspace>/climbs/<run>.lock    held while the climb lives
<workspace>/last/                ``dvc.lock`` and metrics of the last climb, as far as it came
<workspace>/scratch/             ``.stepladder`` of all clones: checkpoints, merged models, copies of releases

DVC's cache is the project's (copied or reflinked from, never hard-linked: a link that is written through
corrupts it silently), and so are the caches of responses and embeddings, which are by content.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.dag import stage_environment
from stepladder.data.git import git
from stepladder.files import writing
from stepladder.settings import load_settings

_SHARED = ("responses.sqlite", "embeddings.sqlite")


@contextmanager
def throwaway(project: Path, workspace: Path, run: str, commit: str) -> Iterator[Path]:
    """A clone of the project at ``commit``, ready for `dvc repro`, deleted when the block is left.

    Args:
        project: a git repository with DVC.
        workspace: folder for clones and scratch.
        run: the climb's name.
        commit: any name of a commit.

    Raises:
        StepladderError: git cannot make it.
    """
    climbs = (workspace / "climbs").resolve()
    climbs.mkdir(parents=True, exist_ok=True)
    sweep(climbs)
    clone = climbs / run
    with _held(lock_of(clone)):
        try:
            _make(project.resolve(), clone, commit)
            _share(project.resolve(), (workspace / "scratch").resolve(), clone)
            _begin_from_last(project.resolve(), clone)
            yield clone
        finally:
            shutil.rmtree(clone, ignore_errors=True)
            lock_of(clone).unlink(missing_ok=True)


def lock_of(clone: Path) -> Path:
    """The file that is locked while a clone's climb lives."""
    return clone.with_name(f"{clone.name}.lock")


def is_held(clone: Path) -> bool:
    """Whether a clone's climb lives."""
    from filelock import FileLock, Timeout

    if not lock_of(clone).exists():
        return False
    try:
        with FileLock(lock_of(clone), timeout=0):
            return False
    except Timeout:
        return True


def sweep(climbs: Path) -> None:
    """Delete the clones of climbs that were killed."""
    for clone in [path for path in climbs.iterdir() if path.is_dir()]:
        if not is_held(clone):
            shutil.rmtree(clone, ignore_errors=True)
            lock_of(clone).unlink(missing_ok=True)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(path):
        yield


def _make(project: Path, clone: Path, commit: str) -> None:
    found = git(project, "rev-parse", "--verify", f"{commit}^{{commit}}")
    git(project, "clone", "--quiet", "--shared", "--no-checkout", str(project), str(clone))
    git(clone, "checkout", "--quiet", "--detach", found)


def _share(project: Path, scratch: Path, clone: Path) -> None:
    """DVC's cache and remotes, models in folders, and the caches by content."""
    from dvc.repo import Repo

    with Repo(str(project)) as theirs:
        cache, settings = theirs.cache.local_cache_dir, theirs.config
        remotes, default = settings["remote"], settings["core"].get("remote")
    with Repo(str(clone)) as mine, mine.config.edit("local") as local:
        local["cache"] = {"dir": cache, "type": ["reflink", "copy"]}
        local["remote"] = {name: dict(remote) for name, remote in remotes.items()}
        local["core"] = {"remote": default} if default else {}
    scratch.mkdir(parents=True, exist_ok=True)
    (project / ".stepladder").mkdir(exist_ok=True)
    for name in _SHARED:
        _link(scratch / name, project / ".stepladder" / name)
    _link(clone / ".stepladder", scratch)
    models = load_settings(clone / "params.yaml").models
    for name in (models.base, models.embedder):
        if (project / name).is_dir() and not (clone / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            _link(clone / name, (project / name).resolve())


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target)


def keep_state(clone: Path) -> None:
    """Remember what the stages of a clone have made, for the next climb: also of one that fails later."""
    with writing(_last(clone)) as draft:
        draft.mkdir()
        for path in _of_stages(clone):
            if (clone / path).is_file():
                _put(draft / path, (clone / path).read_bytes())


def _last(clone: Path) -> Path:
    """<workspace>/last, beside <workspace>/climbs/<run>."""
    return clone.parents[1] / "last"


def _of_stages(clone: Path) -> list[str]:
    """The files that say what the stages made."""
    return ["dvc.lock", *uncached_outputs(clone)]


def _begin_from_last(project: Path, clone: Path) -> None:
    """Begin with what the last climb made: DVC finds what is stale.

    It is what the last climb here left, be it that it failed; else what the last one that ended anywhere has
    committed; else what `dvc repro` made in the project.
    """
    last = git(
        project, "for-each-ref", "--sort=-creatordate", "--count=1", "--format=%(refname)", "refs/heads/runs/"
    )
    for path in _of_stages(clone):
        if _last(clone).is_dir():
            content = _read(_last(clone) / path)
        elif last:
            content = _committed(project, last, path)
        else:
            content = _read(project / path)
        if content is not None:
            _put(clone / path, content)
    # What is in no cache is made again, or told by the stage that misses it.
    subprocess.run(
        [sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", "--allow-missing"],
        cwd=clone,
        env=stage_environment(),
        capture_output=True,
        check=False,
    )


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _committed(project: Path, commit: str, path: str) -> bytes | None:
    """A file of a commit; None where it has no such file."""
    done = subprocess.run(["git", "show", f"{commit}:{path}"], cwd=project, capture_output=True, check=False)
    return None if done.returncode else done.stdout


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def uncached_outputs(root: Path) -> list[str]:
    """Outputs that DVC leaves to git (``cache: false``): metrics."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return sorted(
            str(Path(out.fs_path).relative_to(root.resolve()))
            for out in repo.index.outs
            if not out.use_cache and Path(out.fs_path).is_relative_to(root.resolve())
        )
