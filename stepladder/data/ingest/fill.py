"""The tables of the index of what a dataset holds, and how rows come into them."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ValidationError

from stepladder.data.ingest.near import bands_of
from stepladder.data.ingest.rows import Traits, traits, turn_keys
from stepladder.errors import StepladderError
from stepladder.tasks import Case, Example, explain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RowKind = Literal["cases", "examples"]

_AT_ONCE = 5_000

# A band keeps at most this many rows of a kind. Rows of a template share bands by the thousand: a few stand
# for all. Of cases it keeps more, for an example that is missed as a leak here stops the next climb.
_SLOTS: dict[RowKind, int] = {"cases": 64, "examples": 8}

TABLES = """
CREATE TABLE IF NOT EXISTS sources (kind TEXT PRIMARY KEY, stamp TEXT, digest TEXT);
CREATE TABLE IF NOT EXISTS rows (
    number INTEGER PRIMARY KEY, kind TEXT, id TEXT, asked BLOB, answer BLOB, cluster TEXT,
    start INTEGER, size INTEGER);
CREATE INDEX IF NOT EXISTS rows_by_id ON rows (kind, id);
CREATE INDEX IF NOT EXISTS rows_by_asked ON rows (kind, asked);
CREATE INDEX IF NOT EXISTS rows_by_cluster ON rows (kind, cluster) WHERE cluster <> '';
CREATE TABLE IF NOT EXISTS turns (turn BLOB, number INTEGER, PRIMARY KEY (turn, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bands (
    kind TEXT, band INTEGER, slot INTEGER, number INTEGER, PRIMARY KEY (kind, band, slot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (
    kind TEXT, what TEXT, value TEXT, n INTEGER, PRIMARY KEY (kind, what, value)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counts_by_n ON counts (kind, what, n);
CREATE TABLE IF NOT EXISTS evidence (
    evidence TEXT, kind TEXT, n INTEGER, PRIMARY KEY (evidence, kind)) WITHOUT ROWID;
"""


class _Placed(NamedTuple):
    """A row's number in the index, its traits, and where its line stands in the file, in bytes."""

    number: int
    traits: Traits
    start: int
    size: int


def clear(db: sqlite3.Connection, kind: RowKind) -> None:
    """Forget all rows of a kind."""
    db.execute("DELETE FROM turns WHERE number IN (SELECT number FROM rows WHERE kind = ?)", (kind,))
    for table in ("rows", "bands", "counts", "evidence"):
        db.execute(f"DELETE FROM {table} WHERE kind = ?", (kind,))


def insert(
    db: sqlite3.Connection,
    kind: RowKind,
    lines: Iterable[bytes],
    start: int,
    bands: NDArray[np.int64] | None = None,
) -> None:
    """Take in rows.

    Args:
        db: the index.
        kind: of the rows.
        lines: with their line breaks.
        start: where the first of them stands in the dataset's file, in bytes.
        bands: of all user turns of the rows, in order; made here when not given.

    Raises:
        StepladderError: a row has not its form.
    """
    (first,) = db.execute("SELECT COALESCE(MAX(number), -1) + 1 FROM rows").fetchone()
    placed = _placed(lines, kind, start, first)
    used = 0
    while some := list(islice(placed, _AT_ONCE)):
        turns = [(one.number, turn) for one in some for turn in one.traits.turns]
        if bands is None:
            of_turns = bands_of(turn for _, turn in turns)
        else:
            of_turns = bands[used : used + len(turns)]
            used += len(turns)
        _insert_rows(db, kind, some)
        _insert_turns(db, some)
        _insert_bands(db, kind, [number for number, _ in turns], of_turns)
        _count(db, kind, [one.traits for one in some])


def parse_row(line: bytes, kind: str, where: str) -> Example | Case:
    """A line of the dataset.

    Raises:
        StepladderError: it has not the form of its kind.
    """
    try:
        return (Case if kind == "cases" else Example).model_validate(json.loads(line))
    except (ValueError, ValidationError) as error:
        told = explain(error) if isinstance(error, ValidationError) else f"not JSON in UTF-8: {error}"
        raise StepladderError(
            told, where=f"{kind}.jsonl, {where}", remedy="mend or remove that row of the dataset"
        ) from error


def _placed(lines: Iterable[bytes], kind: RowKind, start: int, first: int) -> Iterator[_Placed]:
    number = first
    for line_number, line in enumerate(lines, 1):
        if line.strip():
            row = parse_row(line, kind, f"line {line_number}")
            # As `stepladder.tasks.read_rows` names a row without an id.
            row = row if row.id else row.model_copy(update={"id": f"line-{line_number}"})
            yield _Placed(number, traits(row), start, len(line))
            number += 1
        start += len(line)


def _insert_rows(db: sqlite3.Connection, kind: RowKind, some: Sequence[_Placed]) -> None:
    db.executemany(
        "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (number, kind, one.id, one.asked, one.answer, one.cluster, start, size)
            for number, one, start, size in some
        ),
    )


def _insert_turns(db: sqlite3.Connection, some: Sequence[_Placed]) -> None:
    """Turns, and their endings, that are not all that is asked: those are found by their row."""
    keys = ((key, one) for one in some for key in turn_keys(one.traits))
    parts = [(key, one.number) for key, one in keys if key != one.traits.asked]
    db.executemany("INSERT OR IGNORE INTO turns VALUES (?, ?)", parts)


def _insert_bands(
    db: sqlite3.Connection, kind: RowKind, numbers: Sequence[int], bands: NDArray[np.int64]
) -> None:
    entries = [
        (kind, band, number % _SLOTS[kind], number)
        for number, of_turn in zip(numbers, bands.tolist(), strict=True)
        for band in of_turn
    ]
    entries.sort()  # neighbours of the tree one after the other
    db.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?, ?, ?)", entries)


def _count(db: sqlite3.Connection, kind: RowKind, found: Sequence[Traits]) -> None:
    upsert = "ON CONFLICT DO UPDATE SET n = n + excluded.n"
    for what in ("slice", "label", "length"):
        tally = Counter(getattr(one, what) for one in found)
        db.executemany(
            f"INSERT INTO counts VALUES (?, ?, ?, ?) {upsert}",
            [(kind, what, value, n) for value, n in tally.items()],
        )
    named = Counter(name for one in found for name in set(one.evidence))
    db.executemany(
        f"INSERT INTO evidence VALUES (?, ?, ?) {upsert}", [(name, kind, n) for name, n in named.items()]
    )
