"""An SQLite file of the ingest: opened with its tables, closed with a ``with``, its failures explained."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from stepladder.errors import StepladderError


class Database:
    """A file with the class's tables; ``what`` and ``remedy`` word its failures."""

    tables: ClassVar[str]
    what: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._db = sqlite3.connect(path, timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(self.tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StepladderError(
                f"cannot use {self.what}: {error}", where=str(self._path), remedy=self.remedy
            ) from error
