"""What came and what became of it (SQLite): deliveries, accounts of batches, what is held in quarantine."""

from __future__ import annotations

from collections.abc import Iterable

from stepladder.data.ingest.database import Database
from stepladder.data.ingest.records import Account, DatasetUpdated

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    batch TEXT PRIMARY KEY, task TEXT, account TEXT, event TEXT, announced INTEGER);
CREATE TABLE IF NOT EXISTS deliveries (
    name TEXT, digest TEXT, version TEXT, batch TEXT, PRIMARY KEY (name, batch));
CREATE INDEX IF NOT EXISTS deliveries_by_version ON deliveries (name, version);
CREATE TABLE IF NOT EXISTS held (
    entry TEXT PRIMARY KEY, task TEXT, kind TEXT, key TEXT);
CREATE INDEX IF NOT EXISTS held_by_task ON held (task, kind);
CREATE TABLE IF NOT EXISTS leaving (entry TEXT PRIMARY KEY, task TEXT);
"""


class Ledger(Database):
    """The ledger of a project."""

    tables = _TABLES
    what = "the ledger of the ingest"
    remedy = "free some disk space or end what locks it, then run the same command again"

    def seen(self, name: str, version: str) -> bool:
        """Whether this version of an object was taken before."""
        query = "SELECT 1 FROM deliveries WHERE name = ? AND version = ? LIMIT 1"
        return self._db.execute(query, (name, version)).fetchone() is not None

    def held(self, task: str) -> dict[str, set[str]]:
        """Keys of what is in a task's quarantine or was dropped from it, by kind."""
        found: dict[str, set[str]] = {}
        for kind, key in self._db.execute("SELECT kind, key FROM held WHERE task = ?", (task,)):
            found.setdefault(kind, set()).add(key)
        return found

    def hold(self, task: str, entries: Iterable[tuple[str, str, str]]) -> None:
        """Remember what came into quarantine: (entry, kind, key)."""
        with self._explained(), self._db:
            self._db.executemany(
                "INSERT OR IGNORE INTO held (entry, task, kind, key) VALUES (?, ?, ?, ?)",
                ((entry, task, kind, key) for entry, kind, key in entries),
            )

    def release(self, entries: Iterable[str]) -> None:
        """Forget what was sent again, and remember until it has `left` that it is to leave the quarantine."""
        some = [(entry,) for entry in entries]
        with self._explained(), self._db:
            self._db.executemany(
                "INSERT OR IGNORE INTO leaving SELECT entry, task FROM held WHERE entry = ?", some
            )
            self._db.executemany("DELETE FROM held WHERE entry = ?", some)

    def leaving(self) -> dict[str, set[str]]:
        """What was sent again and may still stand in the quarantine: entries by task."""
        found: dict[str, set[str]] = {}
        for task, entry in self._db.execute("SELECT task, entry FROM leaving"):
            found.setdefault(task, set()).add(entry)
        return found

    def left(self, entries: Iterable[str]) -> None:
        """Remember that entries have left the quarantine."""
        with self._explained(), self._db:
            self._db.executemany("DELETE FROM leaving WHERE entry = ?", ((entry,) for entry in entries))

    def record(self, account: Account, event: DatasetUpdated | None) -> None:
        """Write down a batch; again is the same."""
        plan = account.plan
        with self._explained(), self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?, ?)",
                (
                    plan.batch,
                    plan.task,
                    account.model_dump_json(),
                    event.model_dump_json() if event else None,
                    int(event is None),
                ),
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?)",
                ((one.name, one.digest, one.version, plan.batch) for one in plan.files),
            )

    def account(self, batch: str) -> Account | None:
        """A batch, if it was carried out."""
        row = self._db.execute("SELECT account FROM batches WHERE batch = ?", (batch,)).fetchone()
        return Account.model_validate_json(row[0]) if row else None

    def accounts(self) -> list[Account]:
        """All batches, in the order in which they were carried out."""
        rows = self._db.execute("SELECT account FROM batches ORDER BY rowid")
        return [Account.model_validate_json(text) for (text,) in rows]

    def unannounced(self) -> list[DatasetUpdated]:
        """Events that were not sent yet, in order."""
        rows = self._db.execute("SELECT event FROM batches WHERE NOT announced ORDER BY rowid")
        return [DatasetUpdated.model_validate_json(text) for (text,) in rows]

    def announced(self, event: DatasetUpdated) -> None:
        """Remember that an event was sent."""
        with self._explained(), self._db:
            self._db.execute("UPDATE batches SET announced = 1 WHERE event = ?", (event.model_dump_json(),))

    def keep_last_unannounced(self) -> None:
        """Of each task let only the last event wait: the commit that it names holds all before."""
        last = "SELECT MAX(rowid) FROM batches WHERE NOT announced GROUP BY task"
        with self._explained(), self._db:
            self._db.execute(
                f"UPDATE batches SET announced = 1 WHERE NOT announced AND rowid NOT IN ({last})"
            )
