"""What a dataset holds, for look-ups whose cost grows with the batch and not with the dataset (SQLite).

It is made of ``cases.jsonl`` and ``examples.jsonl`` alone. When a file's size, time or inode is another
than at the last look, and its digest too, the index is made anew; so it may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stepladder.data.ingest.database import Database
from stepladder.data.ingest.fill import TABLES, RowKind, clear, insert, parse_row
from stepladder.files import digest_file
from stepladder.tasks import Case, Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORM = 3  # of the tables below: another form is another file


class Place(NamedTuple):
    """A row of the dataset: its id and answer's key, and where its line stands in the file, in bytes."""

    kind: str
    id: str
    answer: bytes
    start: int
    size: int


class Known(Database):
    """The index of one task's dataset."""

    tables = TABLES
    what = "the index of what is known"
    remedy = "free some disk space, or delete the file: it is made again from the dataset"

    def __init__(self, folder: Path, task: Path) -> None:
        self._task = task
        super().__init__(folder / f"{task.name}.{_FORM}.sqlite")

    def same_input(self, kind: RowKind, asked: Iterable[bytes]) -> dict[bytes, list[Place]]:
        """Rows by the key of what they ask."""
        found: dict[bytes, list[Place]] = {}
        query = "SELECT asked, kind, id, answer, start, size FROM rows WHERE kind = ? AND asked = ?"
        for key in set(asked):
            for asked_key, *place in self._db.execute(query, (kind, key)):
                found.setdefault(asked_key, []).append(Place(*place))
        return found

    def ids(self, kind: RowKind, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are taken."""
        query = "SELECT 1 FROM rows WHERE kind = ? AND id = ? LIMIT 1"
        return {one for one in set(ids) if self._db.execute(query, (kind, one)).fetchone()}

    def clusters(self, kind: RowKind, clusters: Iterable[str]) -> dict[str, str]:
        """Of the clusters that rows are of: the id of one such row."""
        query = "SELECT id FROM rows WHERE kind = ? AND cluster = ? LIMIT 1"
        found = ((one, self._db.execute(query, (kind, one)).fetchone()) for one in set(clusters) if one)
        return {one: row[0] for one, row in found if row}

    def same_turn(self, kind: RowKind, turns: Iterable[bytes]) -> dict[bytes, str]:
        """Of the keys of user turns, and of their endings, that rows hold: the id of one such row."""
        whole = "SELECT id FROM rows WHERE kind = :kind AND asked = :key"
        part = "SELECT id FROM turns JOIN rows USING (number) WHERE turn = :key AND kind = :kind"
        query = f"{whole} UNION ALL {part} LIMIT 1"
        found = ((key, self._db.execute(query, {"kind": kind, "key": key}).fetchone()) for key in set(turns))
        return {key: row[0] for key, row in found if row}

    def candidates(self, kind: RowKind, bands: NDArray[np.int64]) -> dict[int, list[Place]]:
        """Rows that may be nearly alike, by position in ``bands``."""
        query = (
            "SELECT DISTINCT rows.kind, id, answer, start, size FROM bands JOIN rows USING (number)"
            f" WHERE bands.kind = ? AND band IN ({','.join('?' * bands.shape[1])})"
        )
        found: dict[int, list[Place]] = {}
        for position, keys in enumerate(bands.tolist()):
            if places := self._db.execute(query, (kind, *keys)).fetchall():
                found[position] = [Place(*place) for place in places]
        return found

    def row(self, place: Place) -> Example | Case:
        """A row of the dataset, read from its file."""
        with (self._task / f"{place.kind}.jsonl").open("rb") as file:
            file.seek(place.start)
            return parse_row(file.read(place.size), place.kind, place.id)

    def total(self, kind: RowKind) -> int:
        """How many rows there are."""
        query = "SELECT COALESCE(SUM(n), 0) FROM counts WHERE kind = ? AND what = 'slice'"
        return int(self._db.execute(query, (kind,)).fetchone()[0])

    def counts(self, kind: RowKind, what: str, least: int, also: Iterable[str] = ()) -> dict[str, int]:
        """How many rows have each value of a trait (slice, label or length), where at least ``least`` do.

        Args:
            kind: which rows.
            what: the trait.
            least: values of fewer rows are left out.
            also: values that are counted however few rows have them.
        """
        query = "SELECT value, n FROM counts WHERE kind = ? AND what = ? AND n >= ?"
        found: dict[str, int] = dict(self._db.execute(query, (kind, what, least)))
        one = "SELECT n FROM counts WHERE kind = ? AND what = ? AND value = ?"
        for value in also:
            row = self._db.execute(one, (kind, what, value)).fetchone()
            found[value] = row[0] if row else 0
        return found

    def evidence_in(self, page: str) -> list[tuple[str, str, int]]:
        """What rows name of a page: (evidence, kind of row, number of rows)."""
        # '$' follows '#': the range holds all that starts with "page#".
        query = (
            "SELECT evidence, kind, n FROM evidence WHERE evidence = ? OR (evidence >= ? AND evidence < ?)"
        )
        return list(self._db.execute(query, (page, f"{page}#", f"{page}$")))

    def digest(self, kind: RowKind) -> str:
        """SHA-256 of the file that the index was made of; empty where there was none."""
        with self._explained():
            held = self._db.execute("SELECT digest FROM sources WHERE kind = ?", (kind,)).fetchone()
        return held[0] if held else ""

    def refresh(self, kind: RowKind) -> None:
        """Make the part of one file anew where the file is another than it was made of.

        Raises:
            StepladderError: a row of the file has not its form.
        """
        path = self.file(kind)
        with self._explained():
            held = self._db.execute("SELECT stamp FROM sources WHERE kind = ?", (kind,)).fetchone()
        if held == (_stamp_of(path),):
            return
        digest = digest_file(path) if path.exists() else ""
        with self._explained(), self._db:
            if held is None or self.digest(kind) != digest:
                clear(self._db, kind)
                if path.exists():
                    with path.open("rb") as file:
                        insert(self._db, kind, file, 0)
            self._stamp(kind, digest)

    def append(self, kind: RowKind, added: Path, start: int, bands: NDArray[np.int64], digest: str) -> None:
        """Take in lines that were added to a file, all or none.

        Args:
            kind: which file.
            added: a file of the lines added.
            start: where the first of them stands in the dataset's file, in bytes.
            bands: of all their user turns, in order.
            digest: SHA-256 of the dataset's file as it is now.
        """
        with self._explained(), self._db, added.open("rb") as file:
            insert(self._db, kind, file, start, bands)
            self._stamp(kind, digest)

    def file(self, kind: RowKind) -> Path:
        """The dataset's file."""
        return self._task / f"{kind}.jsonl"

    def _stamp(self, kind: RowKind, digest: str) -> None:
        stamp = _stamp_of(self.file(kind))
        self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", (kind, stamp, digest))


def _stamp_of(path: Path) -> str:
    if not path.exists():
        return "absent"
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
