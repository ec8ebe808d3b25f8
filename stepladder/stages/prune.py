"""Remove merged models and copies of releases that nothing needs any more; both can be made again."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from stepladder.console import say
from stepladder.releases import in_use, read_release, short
from stepladder.stages.rungs import adapter_record
from stepladder.stages.workspace import Workspace


def prune(workspace: Workspace) -> None:
    """Keep what the build of any task uses and the releases that an alias names; say what goes.

    The tracking store must be set up (`stepladder.releases.use_mlflow`): the aliases lie there.
    """
    tasks = workspace.settings.tasks
    releases = {short(digest) for name in tasks for digest in in_use(name)}
    _keep(workspace.releases, releases, "releases")
    built = [adapter_record(workspace, name) for name in tasks]
    adapters = {record.adapter_digest for record in built if record} | {
        digest for folder in _folders(workspace.releases) if (digest := read_release(folder).adapter_digest)
    }
    wanted = {short(digest) for digest in adapters}
    merged = {one.name for one in _folders(workspace.merged) if one.name.partition("-")[0] in wanted}
    _keep(workspace.merged, merged, "merged models")


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
