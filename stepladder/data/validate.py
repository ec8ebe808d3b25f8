"""The stage validate: Great Expectations over a task's rows; each bad row named with its reason.

build/checked/<task>/
  report.json   ValidationReport; the same task gives the same bytes
  data_docs/    Great Expectations' site, for reading in a browser; it holds the time of the run
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal

from stepladder.data.expectations import Checked, results_of
from stepladder.data.frames import COLUMNS, Record, task_frames
from stepladder.data.suites import SUITES
from stepladder.errors import StepladderError
from stepladder.files import write_json
from stepladder.tasks import Strict, Task

_MOST_NAMED = 10
_LONGEST_REASON = 500


class BadRow(Strict):
    """One fault of one row. ``where`` is ``cases.jsonl:12`` or a page's file; ``id`` is empty if unknown."""

    kind: Literal["examples", "cases", "knowledge"]
    where: str
    id: str
    column: str
    reason: str


class ValidationReport(Strict):
    """What validation found: rows and expectations checked by kind, and the faults in file order."""

    task: str
    rows: dict[str, int]
    expectations: dict[str, int]
    bad_rows: list[BadRow]
    warnings: list[BadRow]

    @property
    def ok(self) -> bool:
        """Whether the task may be used; warnings do not hinder it."""
        return not self.bad_rows


def validate_task(task: Task, folder: Path) -> ValidationReport:
    """Check all rows of a task and write the report and the Data Docs, bad rows or not.

    Args:
        task: a loaded task; its rows need not be sound.
        folder: where to write; made if missing.

    Raises:
        StepladderError: a file of the task is missing or not UTF-8, the knowledge is empty, or
            ``output_schema`` is no JSON schema. Bad rows do not raise: see `require_valid`.
    """
    frames = task_frames(task)
    faults = list(_run_suites(frames, folder / "data_docs"))
    faults.sort(key=lambda item: item[:3])
    report = ValidationReport(
        task=task.name,
        rows={kind: len(records) for kind, records in frames.items()},
        expectations={kind: len(SUITES[kind]) for kind in frames},
        bad_rows=[row for *_, severity, row in faults if severity == "critical"],
        warnings=[row for *_, severity, row in faults if severity != "critical"],
    )
    write_json(folder / "report.json", report.model_dump(mode="json"))
    return report


def require_valid(report: ValidationReport, kept: Path) -> None:
    """Stop when a task has bad rows; ``kept`` is where the report lies.

    Raises:
        StepladderError: it names the first bad rows with their reasons and counts the rest.
    """
    if report.ok:
        return
    named = "".join(f"\n  {line}" for line in told(report.bad_rows, _MOST_NAMED))
    count = f"{len(report.bad_rows)} fault{'s' if len(report.bad_rows) > 1 else ''}"
    raise StepladderError(
        f"{count} in the task's rows:{named}",
        where=f"task {report.task}",
        remedy=f"mend or remove these rows; the report and its Data Docs list them all: {kept}",
    )


def told(rows: Sequence[BadRow], most: int) -> list[str]:
    """The first ``most`` faults, a line each, and how many more there are."""
    lines = [
        f"{row.where}{f' (id {row.id!r})' if row.id else ''}: {row.column}: {row.reason}"
        for row in rows[:most]
    ]
    return lines + ([f"and {len(rows) - most} more"] if len(rows) > most else [])


_Fault = tuple[int, int, int, str, BadRow]


def _run_suites(frames: dict[str, list[Record]], docs: Path) -> Iterator[_Fault]:
    """Faults as (kind's number, row's number, expectation's number, severity, bad row)."""
    kinds = list(frames)
    checked = {kind: Checked(COLUMNS[kind], records, SUITES[kind]) for kind, records in frames.items()}
    orders = {kind: count() for kind in kinds}
    for kind, item in results_of("task", checked, docs):
        yield from _faults(kind, kinds.index(kind), next(orders[kind]), item, frames[kind])


def _faults(kind: Any, number: int, order: int, item: Any, records: list[Record]) -> Iterator[_Fault]:
    """The faults that one expectation found."""
    if item.success:
        return
    config = item.expectation_config
    if item.exception_info.get("raised_exception"):
        raise StepladderError(
            f"the expectation {config.type} could not be checked: {item.exception_info['exception_message']}",
            where=f"stepladder/data/suites.py, suite {kind}",
            remedy="mend the suite",
        )
    severity = getattr(config.severity, "value", config.severity) or "critical"
    column = config.kwargs.get("column", "")
    notes = config.meta["notes"]
    positions = item.result.get("unexpected_index_list")
    if positions is None:
        row = BadRow(kind=kind, where=kind, id="", column=column, reason=notes)
        yield number, -1, order, severity, row
        return
    for position in positions:
        record = records[int(position)]
        told = record.get(column) if config.type == "expect_column_values_to_be_null" else None
        reason = str(told or notes)
        row = BadRow(
            kind=kind,
            where=record["where"],
            id=record["id"] or "",
            column=column,
            reason=reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}...",
        )
        yield number, int(position), order, severity, row
