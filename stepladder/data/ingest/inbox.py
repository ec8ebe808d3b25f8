"""The inbox: a folder, or a prefix of an object store. Files under it are ``<task>/<kind>/...``.

In a folder a file is taken by renaming it, so that one process has it, and what is put under its name
afterwards is another file. A file is left alone while it may still be written: when it changed within the
last ``settle_s`` seconds, or its name or that of a folder above it starts with a dot, or it ends in
``.part`` or ``.tmp``. Who cannot write a file within that time writes it under such a name and renames it.

In an object store nothing is moved or deleted: each version of an object is read once, which the ledger
remembers. An object appears there whole.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from stepladder.data.ingest.records import Kind
from stepladder.errors import StepladderError
from stepladder.files import digest_file, writing

_UNFINISHED = (".part", ".tmp")
REMOVED = ".md.removed"

_FOLDERS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "knowledge": ("knowledge", (".md", REMOVED)),
    "cases": ("cases", (".jsonl",)),
    "examples": ("examples", (".jsonl",)),
    "corrections": ("examples", (".jsonl",)),
}


class Delivery(NamedTuple):
    """A file that waits: its name under the inbox, when it was written (seconds), and its version."""

    name: str
    modified: float
    version: str

    @property
    def task(self) -> str:
        """The task it is for."""
        return PurePosixPath(self.name).parts[0]


class Inbox(Protocol):
    """Where files arrive. ``keeps`` says that they stay there when they are taken."""

    taken: Path
    keeps: bool

    def waiting(self) -> list[Delivery]:
        """The files that may be taken, oldest first, those of one moment by name."""
        ...

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Move files into the folder ``taken``, under their names; one that is gone is passed over."""
        ...

    def let_go(self, task: str, digests: Mapping[str, str]) -> None:
        """Delete a task's files in the folder ``taken``, of which the SHA-256 is known by their names.

        One that says something else by now goes back: whoever wrote it had not ended. What was read of it is
        known when it comes again.
        """
        ...

    def send(self, name: str, content: bytes) -> None:
        """Put a file into the inbox, whole or not at all."""
        ...


def kind_of(name: str) -> Kind | None:
    """The kind of the file at ``<task>/<folder>/...``, or None where no such file is expected."""
    parts = PurePosixPath(name).parts
    if len(parts) < 3 or parts[1] not in _FOLDERS:
        return None
    kind, endings = _FOLDERS[parts[1]]
    nested = len(parts) > 3 and kind != "knowledge"
    return kind if name.endswith(endings) and not nested else None


class FolderInbox:
    """A folder. Files in hand lie in its ``.taken``: on the same disk, so that taking is one rename."""

    keeps = False

    def __init__(self, folder: Path, settle_s: float, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._clock = clock
        self.taken = folder / ".taken"

    def waiting(self) -> list[Delivery]:
        """See `Inbox.waiting`."""
        now = self._clock()
        found = []
        for name in _names_in(self._folder):
            status = self._status(name)
            # A time in the future comes from another clock: it says nothing about who writes now.
            if status and abs(now - status.st_mtime) >= self._settle_s:
                found.append(Delivery(name, status.st_mtime, _version(status)))
        return sorted(found, key=lambda one: (one.modified, one.name))

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """See `Inbox.take`. A file that has changed since it was listed is put back."""
        for delivery in deliveries:
            source, target = self._folder / delivery.name, self.taken / delivery.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source.rename(target)
            except FileNotFoundError:
                continue
            if _version(target.stat()) != delivery.version:
                _put_back(target, source)

    def let_go(self, task: str, digests: Mapping[str, str]) -> None:
        """See `Inbox.let_go`."""
        for name, digest in digests.items():
            path = self.taken / name
            if path.is_file() and (current := digest_file(path)) != digest:
                source = self._folder / name
                if source.exists() and kind_of(name) != "knowledge":  # of a page, the newer one holds
                    source = source.with_stem(f"{source.stem}-{current[:8]}")
                _put_back(path, source)
        shutil.rmtree(self.taken / task, ignore_errors=True)

    def send(self, name: str, content: bytes) -> None:
        """See `Inbox.send`."""
        with writing(self._folder / name) as draft:
            draft.write_bytes(content)

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return (self._folder / name).stat()
        except FileNotFoundError:
            return None


class RemoteInbox:
    """A prefix that fsspec reads. ``seen`` says whether a version of an object was taken before."""

    keeps = True

    def __init__(self, files: Any, prefix: str, taken: Path, seen: Callable[[str, str], bool]) -> None:
        self._files = files
        self._prefix = prefix.rstrip("/")
        self._seen = seen
        self.taken = taken

    def waiting(self) -> list[Delivery]:
        """See `Inbox.waiting`."""
        self._files.invalidate_cache()
        found = []
        for path, info in self._files.find(self._prefix, detail=True).items():
            name = path.removeprefix(self._prefix).lstrip("/")
            # The time too: an object that is put back to what it was has the ETag that it had then.
            version = f"{info.get('ETag') or info.get('size')}-{_moment(info)}"
            if _is_finished(PurePosixPath(name)) and not self._seen(name, version):
                found.append(Delivery(name, _moment(info), version))
        return sorted(found, key=lambda one: (one.modified, one.name))

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """See `Inbox.take`. The objects stay where they are."""
        for delivery in deliveries:
            with writing(self.taken / delivery.name) as draft:
                self._files.get_file(f"{self._prefix}/{delivery.name}", str(draft))
            os.utime(self.taken / delivery.name, (delivery.modified, delivery.modified))

    def let_go(self, task: str, digests: Mapping[str, str]) -> None:  # noqa: ARG002 - an object appears whole
        """See `Inbox.let_go`."""
        shutil.rmtree(self.taken / task, ignore_errors=True)

    def send(self, name: str, content: bytes) -> None:
        """See `Inbox.send`."""
        self._files.pipe_file(f"{self._prefix}/{name}", content)


def open_inbox(
    address: str, root: Path, settle_s: float, state: Path, seen: Callable[[str, str], bool]
) -> FolderInbox | RemoteInbox:
    """The inbox at a folder (relative to ``root``) or a URL.

    Raises:
        StepladderError: no file system is known for the URL.
    """
    if "://" not in address:
        return FolderInbox(root / address, settle_s)
    from fsspec.core import url_to_fs

    try:
        files, prefix = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise StepladderError(
            f"cannot open this inbox: {error}",
            where=f"ingest.inbox {address}",
            remedy="install what fsspec needs for it (for s3://: pip install s3fs), or mend the URL",
        ) from error
    return RemoteInbox(files, prefix, state / "taken", seen)


def files_in(folder: Path) -> list[Path]:
    """The files taken, oldest first, those of one moment by name."""
    found = [folder / name for name in _names_in(folder)]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.relative_to(folder).as_posix()))


def _names_in(folder: Path) -> Iterator[str]:
    # Not `rglob`: it fails where a writer's scratch folder vanishes under it.
    for parent, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for file in files:
            path = Path(parent) / file
            name = PurePosixPath(path.relative_to(folder))
            if _is_finished(name) and path.is_file() and not path.is_symlink():
                yield name.as_posix()


def _is_finished(name: PurePosixPath) -> bool:
    return not any(part.startswith(".") for part in name.parts) and name.suffix not in _UNFINISHED


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _moment(info: dict[str, Any]) -> float:
    """When an object was written, seconds since 1970; file systems name it differently."""
    value = info.get("LastModified") or info.get("mtime") or info.get("created") or 0.0
    return float(value.timestamp()) if hasattr(value, "timestamp") else float(value)


def _put_back(taken: Path, source: Path) -> None:
    """Give back a file that is still being written, unless another one has come under its name."""
    try:
        os.link(taken, source)
    except FileExistsError:
        return
    taken.unlink()
