"""What was asked, answered and thought of it: an append-only SQLite file, written by a thread of its own.

What is promised. ``append`` never waits and never fails a request. One thread redacts what has gathered
and commits it in one transaction, flushed to the disk (WAL, ``synchronous=FULL``), so what is committed
survives ``kill -9`` and a power cut. An interaction is two events: ``asked``, handed over before the engine
works, and ``answered``, handed over before the last byte is sent; one that the queue had no room for is
``refused`` alone. A kill can so lose what was handed over
within the last transaction, a few milliseconds: of an answer just sent its ``answered``, hardly ever its
``asked``. Feedback, which ``keep`` writes, is confirmed only after its commit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from serving.redaction import Redact
from stepladder.errors import StepladderError

log = logging.getLogger("serving")

_MOST_IN_BATCH = 500
_RETRY_S = 1.0
_SWEEP_EVERY_S = 3600.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    interaction TEXT NOT NULL,
    task TEXT NOT NULL,
    release TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_interaction ON events (interaction);
CREATE INDEX IF NOT EXISTS by_release ON events (task, release, seq);
CREATE INDEX IF NOT EXISTS by_time ON events (at);
CREATE TRIGGER IF NOT EXISTS append_only BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
"""

_INSERT = "INSERT INTO events (at, kind, interaction, task, release, body) VALUES (?, ?, ?, ?, ?, ?)"
_Row = tuple[float, str, str, str, str, str]

# Ids that are made here, and hold nobody's text: a pattern could take one for a number.
_IDS = ("unit", "trace", "key")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Event:
    """Something that happened to an interaction. ``kind``: see ``docs/08-serving.md``."""

    kind: str
    interaction: str
    task: str
    release: str
    body: dict[str, Any]
    at: float


@dataclass(frozen=True)
class _Call:
    run: Callable[[sqlite3.Connection], Any]
    done: Future[Any]


class Store:
    """The file of events. Open it once in a process; other processes may read and write it too."""

    def __init__(
        self,
        path: Path,
        redact: Redact,
        retention_days: float,
        most_pending: int,
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._redact = redact
        self._retention_s = retention_days * 86400
        self._most_pending = most_pending
        self._on_drop = on_drop
        self._queue: queue.SimpleQueue[Event | _Call | None] = queue.SimpleQueue()
        self._connection = self._open()
        self._swept = 0.0
        self._failing = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="records", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded, and more can be written."""
        return self._thread.is_alive() and not self._failing

    @property
    def pending(self) -> int:
        """How many events wait to be written."""
        return self._queue.qsize()

    def append(self, event: Event) -> None:
        """Hand an event over; dropped, and counted, where too many wait already."""
        if self.pending >= self._most_pending:
            self._on_drop()
            return
        self._queue.put(event)

    async def call(self, run: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a function on the connection, after all that was appended before is committed."""
        done: Future[Result] = Future()
        self._queue.put(_Call(run, done))
        return await asyncio.wrap_future(done)

    async def keep(self, event: Event) -> None:
        """Write one event, which is on the disk when this returns: no lack of room drops it.

        Raises:
            sqlite3.Error: it cannot be written now.
        """
        await self.call(lambda connection: connection.execute(_INSERT, self._told(event)))

    async def committed(self) -> None:
        """Wait until all that was appended before is on the disk."""
        await self.call(lambda _: None)

    async def events(self, interaction: str) -> list[Event]:
        """The events of an interaction, in order, redacted."""
        return await self.call(lambda connection: _events(connection, interaction))

    def close(self) -> None:
        """Write what waits, then close the file."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)  # before SQLite, whose side files take over the mode
            connection = sqlite3.connect(self._path, timeout=30, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StepladderError(
                f"cannot open the record of interactions: {error}",
                where=str(self._path),
                remedy="choose a writable place (records.path), or move a damaged file away",
            ) from error
        return connection

    def _work(self) -> None:
        while True:
            self._sweep()
            batch = self._next_batch()
            events = [one for one in batch if isinstance(one, Event)]
            self._keep(events)
            for one in batch:
                if isinstance(one, _Call):
                    self._answer(one)
            if None in batch:
                return

    def _next_batch(self) -> list[Event | _Call | None]:
        """What has gathered, waited for; nothing when it is time to sweep."""
        try:
            batch = [self._queue.get(timeout=_SWEEP_EVERY_S)]
        except queue.Empty:
            return []
        while len(batch) < _MOST_IN_BATCH and not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _keep(self, events: list[Event]) -> None:
        """Commit, again and again until it succeeds: a full disk loses nothing while memory lasts."""
        rows = [row for row in map(self._row, events) if row]
        if not rows:
            return
        while True:
            try:
                with self._connection:
                    self._connection.executemany(_INSERT, rows)
            except sqlite3.Error as error:
                if not self._failing:
                    log.error("interactions cannot be recorded, trying on: %s", error)
                self._failing = True
                if self._closing:
                    log.error("%d records are lost", len(rows))
                    return
                time.sleep(_RETRY_S)
            else:
                self._failing = False
                return

    def _row(self, event: Event) -> _Row | None:
        """One that cannot be redacted or told as JSON is lost; those after it must not be."""
        try:
            return self._told(event)
        except Exception as error:  # its message may quote the event
            log.error("a record of kind %s is lost: %s", event.kind, type(error).__name__)
            self._on_drop()
            return None

    def _told(self, event: Event) -> _Row:
        ids = {name: event.body[name] for name in _IDS if name in event.body}
        body = json.dumps({**self._redact(event.body), **ids})  # ASCII: half a surrogate pair is no UTF-8
        return (event.at, event.kind, event.interaction, event.task, event.release, body)

    def _answer(self, call: _Call) -> None:
        if not call.done.set_running_or_notify_cancel():  # nobody waits for it any more
            return
        try:
            with self._connection:
                result = call.run(self._connection)
        except Exception as error:
            call.done.set_exception(error)
        else:
            call.done.set_result(result)

    def _sweep(self) -> None:
        """Delete what is older than its retention; the file overwrites what it deletes."""
        now = time.time()
        if now - self._swept < _SWEEP_EVERY_S:
            return
        self._swept = now
        try:
            with self._connection:
                self._connection.execute("DELETE FROM events WHERE at < ?", (now - self._retention_s,))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.error("old interactions cannot be deleted, trying on: %s", error)


def _events(connection: sqlite3.Connection, interaction: str) -> list[Event]:
    rows = connection.execute(
        "SELECT kind, interaction, task, release, body, at FROM events WHERE interaction = ? ORDER BY seq",
        (interaction,),
    )
    return [
        Event(kind=kind, interaction=of, task=task, release=release, body=json.loads(body), at=at)
        for kind, of, task, release, body, at in rows
    ]
