"""A small persistent key-value store (SQLite): safe to kill, safe to share between threads of one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from stepladder.errors import StepladderError

_MOST_VARIABLES = 500


class Cache:
    """Bytes by key. Keys are content digests, so an entry never goes stale."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB)")
        except (sqlite3.Error, OSError) as error:
            raise StepladderError(
                f"cannot open the cache: {error}",
                where=str(path),
                remedy="delete the file; only time is lost, its entries are made again",
            ) from error

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The entries that exist among ``keys``."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, bytes] = {}
        for start in range(0, len(wanted), _MOST_VARIABLES):
            part = wanted[start : start + _MOST_VARIABLES]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, value FROM entries WHERE key IN ({marks})"
            found.update(self._connection.execute(query, part))
        return found

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Add or replace entries, all or none."""
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", entries.items())

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
