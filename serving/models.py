"""The models that releases name by digest: the ones here, or copies of what MLflow keeps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stepladder.errors import StepladderError
from stepladder.failures import first_line
from stepladder.files import digest_folder
from stepladder.knowledge.locate import model_folder
from stepladder.model_copies import WrongCopyError, fetch_copy
from stepladder.models import (
    has_checkpoint,
    hub_commit,
    hub_digest,
    hub_snapshot,
    local_folder,
    require_base,
)
from stepladder.releases import Release, short

_Stamp = tuple[tuple[str, int, int], ...]


class MachineError(Exception):
    """This machine cannot run a release that others may: it says nothing about the release."""


class Models:
    """Finds models by what releases say of them.

    Args:
        copies: folder of the copies from MLflow, by digest.
    """

    def __init__(self, copies: Path) -> None:
        self._copies = copies
        self._known: dict[Path, tuple[_Stamp, str]] = {}
        self._wrong: dict[str, str] = {}

    def base(self, release: Release) -> str:
        """The folder of a release's base model; of one of the hub, that of its commit in the hub's cache.

        Raises:
            MachineError: it is neither here nor in MLflow, or is not to be had from the hub.
        """
        revision = release.base_revision or _commit_now(release.base)
        if revision and hub_digest(release.base, revision) == release.base_digest:
            try:
                return str(hub_snapshot(release.base, revision))
            except StepladderError as error:
                raise MachineError(f"{error.where}: {error.what}") from error
        return self._folder("base model", release.base_digest, lambda: Path(require_base(release.base)))

    def base_elsewhere(self, release: Release) -> str:
        """What the base model is called of an engine that runs elsewhere, and so has it there.

        Raises:
            MachineError: a folder of that name is here too, and holds another one: most likely also there.
        """
        folder = local_folder(release.base)
        if folder and has_checkpoint(folder) and self._digest(folder) != release.base_digest:
            raise MachineError(f"it was made with another base model than the one in {folder}")
        return release.base

    def embedder(self, release: Release, digest: str) -> str:
        """The folder of the embedder that a release's index was built with.

        Raises:
            MachineError: it is neither here nor in MLflow.
        """
        return self._folder("embedder", digest, lambda: model_folder(release.embedder))

    def _folder(self, what: str, digest: str, here: Callable[[], Path]) -> str:
        try:
            folder = here()
        except StepladderError as error:
            lacking = f"{error.where}: {error.what}"
        else:
            if self._digest(folder) == digest:
                return str(folder)
            lacking = f"it was made with another {what} than the one in {folder}"
        return str(self._copy(digest, lacking))

    def _copy(self, digest: str, lacking: str) -> Path:
        """MLflow's copy, fetched once; a wrong one is not fetched again before a restart, for it is large."""
        copy = self._copies / short(digest)
        try:
            if digest in self._wrong:
                raise StepladderError(self._wrong[digest])
            if copy.is_dir() and self._digest(copy) != digest:
                shutil.rmtree(copy)
            if not copy.is_dir():
                fetch_copy(digest, copy)
        except Exception as error:  # MLflow's of many kinds: it may be down
            if isinstance(error, WrongCopyError):
                self._wrong[digest] = error.what
            raise MachineError(f"{lacking}; no copy of it can be had: {first_line(error)}") from error
        return copy

    def _digest(self, folder: Path) -> str:
        """The folder's digest, computed again only where a file was changed: models are large."""
        stamp = _stamp(folder)
        known = self._known.get(folder)
        if known is None or known[0] != stamp:
            known = self._known[folder] = (stamp, digest_folder(folder))
        return known[1]


def _commit_now(name: str) -> str | None:
    """The commit of a base of the hub whose release does not tell it; None where none is known."""
    with suppress(StepladderError):
        return None if local_folder(name) else hub_commit(name)
    return None


def _stamp(folder: Path) -> _Stamp:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    looks = ((path, path.stat()) for path in files)
    return tuple((str(path), look.st_size, look.st_mtime_ns) for path, look in looks)
