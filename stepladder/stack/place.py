"""Where the stack of a project keeps its state and its logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stepladder.errors import StepladderError


@dataclass(frozen=True)
class Place:
    """The folders of one project's stack, under ``.stepladder/``."""

    root: Path

    @property
    def logs(self) -> Path:
        """One log a service, and ``stack.log`` of what started and stopped."""
        return self.root / ".stepladder/logs"

    @property
    def state(self) -> Path:
        """What runs, and the key of the watch."""
        return self.root / ".stepladder/stack"

    @property
    def running(self) -> Path:
        """The record of the stack that runs (``running.Running``)."""
        return self.state / "running.json"

    @property
    def failed(self) -> Path:
        """Written by the first service that gave up: its name, and why."""
        return self.state / "failed.json"

    @property
    def environment(self) -> Path:
        """A file for `source`, so that a shell speaks to this stack's servers."""
        return self.state / "env"

    @property
    def prefect(self) -> Path:
        """Prefect's home: profiles, results, its page's files, its database where that is SQLite."""
        return self.root / ".stepladder/prefect"

    @property
    def postgres(self) -> Path:
        """Postgres' data and password."""
        return self.root / ".stepladder/postgres"

    def log(self, service: str) -> Path:
        """The log of a service."""
        return self.logs / f"{service}.log"

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """One ``up`` or ``down`` at a time.

        Raises:
            StepladderError: another one is at work.
        """
        from filelock import FileLock, Timeout

        self.state.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.state / "lock", timeout=0):
                yield
        except Timeout as error:
            raise StepladderError(
                "another `stepladder up` or `stepladder down` is at work here",
                where=str(self.state),
                remedy="wait until it has ended",
            ) from error


def open_place(root: Path) -> Place:
    """The place of the project in a folder.

    Raises:
        StepladderError: it holds no project.
    """
    if not (root / "Procfile").is_file():
        raise StepladderError("no Procfile here", where=str(root), remedy="run from the project's root")
    return Place(root.resolve())
