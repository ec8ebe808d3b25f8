"""Remove merged models and copies of releases that nothing needs any more; both can be made again."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from stepladder.console import say
from stepladder.knowledge.manifest import read_manifest
from stepladder.releases import in_use, read_release, short
from stepladder.stages.rungs import adapter_record
from stepladder.stages.workspace import Workspace


def prune(workspace: Workspace) -> None:
    """Keep what the build of any task uses and the releases that an alias names; say what goes.

    The tracking store must be set up (`stepladder.releases.use_mlflow`): the aliases lie there.
    """
    tasks = workspace.settings.tasks
    built = (adapter_record(workspace, name) for name in tasks)
    _keep_releases(
        workspace,
        {digest for name in tasks for digest in in_use(name)},
        {record.adapter_digest for record in built if record},
    )


def keep_only(workspace: Workspace, digests: Collection[str]) -> None:
    """On a machine that serves and never climbs: keep what these releases need; say what goes.

    Args:
        workspace: where the copies are.
        digests: of the releases that may be asked next.
    """
    _keep_releases(workspace, digests, set())
    models = {short(digest) for one in _folders(workspace.releases) for digest in _models(one)}
    _keep(workspace.model_copies, models, "models")


def _keep_releases(workspace: Workspace, digests: Collection[str], adapters: set[str]) -> None:
    """Keep these releases, and the merged models of their adapters and of these."""
    _keep(workspace.releases, {short(digest) for digest in digests}, "releases")
    released = {read_release(one).adapter_digest for one in _folders(workspace.releases)}
    wanted = {short(digest) for digest in adapters | released if digest}
    merged = {one.name for one in _folders(workspace.merged) if one.name.partition("-")[0] in wanted}
    _keep(workspace.merged, merged, "merged models")


def _models(release: Path) -> Iterator[str]:
    """Digests of the base model and the embedder of a release."""
    yield read_release(release).base_digest
    if (release / "index/manifest.json").is_file():
        yield read_manifest(release / "index").embedder.digest


def _keep(folder: Path, names: Collection[str], what: str) -> None:
    gone = [one for one in _folders(folder) if one.name not in names]
    size = sum(file.stat().st_size for one in gone for file in one.rglob("*") if file.is_file())
    for one in gone:
        shutil.rmtree(one)
    if gone:
        say(f"pruned {what}: {len(gone)} that nothing needs any more, {size / 1e6:.0f} MB")


def _folders(folder: Path) -> list[Path]:
    """Finished ones: a writer's scratch begins with a dot."""
    if not folder.is_dir():
        return []
    return [one for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")]
