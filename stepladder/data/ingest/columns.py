"""A batch's new rows and pages as records for Great Expectations, one a row.

A column named after a check holds the fault in words, or None where the row is sound. A row that has not
its form is not looked at further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stepladder.data.answers import row_check
from stepladder.data.headings import section_ids
from stepladder.data.ingest.fill import RowKind
from stepladder.data.ingest.known import Known
from stepladder.data.ingest.likeness import Rows, find_leaks, find_near_duplicates
from stepladder.data.ingest.rows import answer_of, text_of
from stepladder.data.ingest.screen import Finders, Record, screen
from stepladder.settings import Settings
from stepladder.tasks import Task

PageText = Callable[[str], str | None]


@dataclass(frozen=True)
class Surroundings:
    """What rows are held against: the task, its dataset, its pages as they will be, and the settings."""

    task: Task
    known: Known
    page: PageText
    settings: Settings


def row_records(
    new: Rows, others: Rows | None, conflicts: Mapping[int, str], around: Surroundings
) -> list[Record]:
    """The records of new rows.

    Args:
        new: rows of one kind that are not known.
        others: new rows of the other kind, that examples and cases may not share.
        conflicts: by position.
        around: what they are held against.
    """
    threshold = around.settings.prepare.near_duplicate
    leaks = find_leaks(new, others, around.known, threshold)
    near = find_near_duplicates(new, around.known, threshold) if new.kind == "examples" else {}
    taken = around.known.ids(new.kind, (row.id for row in new.rows))
    answer_fault = row_check(around.task)
    evidence_fault = _evidence_check(around.page)
    said = screen([(text_of(row), row.input) for row in new.rows], around.settings.ingest)
    records = []
    for position, (row, found) in enumerate(zip(new.rows, new.traits, strict=True)):
        record: Record = {
            "form": None,
            "roles": None,
            "id": row.id,
            "taken": f"the dataset has a row {row.id!r} that says something else"
            if row.id in taken
            else None,
            "input": row.input.strip(),
            "output": answer_of(row).strip(),
            "answer": answer_fault(row),
            "evidence": evidence_fault(row.evidence),
            "leak": leaks.get(position),
            "conflict": conflicts.get(position),
            "near_duplicate": near.get(position),
            "slice": found.slice,
            "label": found.label,
            "length": found.length,
        }
        records.append(record | said[position])
    return records


def label_records(records: Sequence[Record], kind: RowKind, known: Known) -> dict[str, int]:
    """Replace each rare answer by ``(other)`` in the column ``label``, and count the dataset's likewise.

    An answer is rare that fewer than 1% of the dataset's rows and 5% of the batch's give.
    """
    total = known.total(kind)
    batch: dict[str, int] = {}
    for record in records:
        batch[record["label"]] = batch.get(record["label"], 0) + 1
    often = [label for label, n in batch.items() if n >= max(2, len(records) // 20)]
    seen = known.counts(kind, "label", max(2, total // 100), often)
    for record in records:
        if record["label"] not in seen:
            record["label"] = "(other)"
    return {**seen, "(other)": total - sum(seen.values())}


def page_record(page: str, content: bytes | None, known: Known, find: Finders) -> Record:
    """The record of a page; no content stands for its removal.

    A page that is changed or removed must leave the pages and sections that cases and examples name.
    """
    blank: Record = dict.fromkeys(("form", "text", "orphans", "secret", "personal", "language"))
    if content is None:
        return blank | {"orphans": _orphans(page, None, known)}
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return blank | {"form": f"not UTF-8: {error}"}
    fault = f"a page's name must not hold '#': {page!r}" if "#" in page else None
    record = {"form": fault, "text": text.strip(), "orphans": _orphans(page, text, known)}
    return blank | record | find.columns(text, text)


def _orphans(page: str, text: str | None, known: Known) -> str | None:
    """The evidence of rows that would be gone with a page, or with its sections, in words."""
    ids = set() if text is None else section_ids(page, text)
    gone = [
        (evidence, f"{n} of the {kind}")
        for evidence, kind, n in known.evidence_in(page)
        if evidence not in ids
    ]
    if not gone:
        return None
    named = "; ".join(f"{evidence} by {rows}" for evidence, rows in gone[:5])
    more = f"; and {len(gone) - 5} more" if len(gone) > 5 else ""
    return f"is named as evidence: {named}{more}. Change those rows first"


def _evidence_check(page_text: PageText) -> Callable[[Sequence[str]], str | None]:
    """A function from a row's evidence to the ids that do not exist, in words."""
    sections: dict[str, set[str]] = {}

    def ids_of(page: str) -> set[str]:
        if page not in sections:
            text = page_text(page)
            sections[page] = set() if text is None else section_ids(page, text)
        return sections[page]

    def missing(evidence: Sequence[str]) -> str | None:
        absent = [item for item in evidence if item not in ids_of(item.partition("#")[0])]
        return f"no such page or section: {', '.join(absent)}" if absent else None

    return missing
