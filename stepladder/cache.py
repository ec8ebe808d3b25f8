"""A small persistent key-value store (SQLite): safe to kill, safe to share between threads of one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType

from stepladder.errors import StepladderError

_MOST_VARIABLES = 500


class Cache:
    """Bytes by key. Keys are content digests, so an entry never goes stale."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One connection serves all threads; without the lock, one thread's commit would end
        # another's transaction half way.
        self._lock = Lock()
        with self._explained("open"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB)")

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The entries that exist among ``keys``.

        Raises:
            StepladderError: the file is damaged or locked.
        """
        wanted = list(dict.fromkeys(keys))
        found: dict[str, bytes] = {}
        with self._lock, self._explained("read"):
            for start in range(0, len(wanted), _MOST_VARIABLES):
                part = wanted[start : start + _MOST_VARIABLES]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value FROM entries WHERE key IN ({marks})"
                found.update(self._connection.execute(query, part))
        return found

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Add or replace entries, all or none.

        Raises:
            StepladderError: the disk is full, or the file is damaged or locked; nothing was added.
        """
        with self._lock, self._explained("write"), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", entries.items())

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            # SQLite words a full disk "database or disk is full": the entries already there are sound.
            remedy = (
                "free some disk space, then run the same command again"
                if "full" in str(error)
                else "delete the file; only time is lost, its entries are made again"
            )
            raise StepladderError(
                f"cannot {verb} the cache: {error}", where=str(self._path), remedy=remedy
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
