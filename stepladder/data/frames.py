"""A task's rows as tables for validation, one dictionary a row; nothing raises on a bad row.

Columns named after a fault (``form``, ``roles``, ``answer``, ``evidence``, ``twin``, ``support``,
``slice_known``) hold the fault in words, or None where the row is sound. A row that has not its form is
not looked at further: its other columns are None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from stepladder.data.answers import row_check
from stepladder.data.duplicates import normal_form
from stepladder.data.headings import section_ids
from stepladder.errors import StepladderError
from stepladder.files import digest_text, parse_line, read_lines
from stepladder.tasks import ROLES_ALTERNATE, Case, Example, Row, Task, explain

Record = dict[str, Any]

COLUMNS = {
    "examples": ["where", "id", "form", "roles", "input", "output", "answer", "evidence", "slice_known"],
    "cases": ["where", "id", "form", "input", "answer", "evidence", "twin", "support"],
    "knowledge": ["where", "id", "form", "text", "content"],
}


_EvidenceCheck = Callable[[list[str]], str | None]


class _Checks(NamedTuple):
    answer: Callable[[Example | Case], str | None]
    evidence: _EvidenceCheck


def task_frames(task: Task) -> dict[str, list[Record]]:
    """The tables of examples, cases and (where the task has it) knowledge, each in file order.

    Raises:
        StepladderError: a file is missing or not UTF-8, the knowledge is empty, or the task's output
            schema is wrong.
    """
    checks = _Checks(
        answer=row_check(task),
        evidence=_evidence_check(task),
    )
    case_rows = list(_rows(task, "cases", Case))
    twins = _twins([row for _, row in case_rows])
    slices = {row.slice for _, row in case_rows if isinstance(row, Case)} | {"all"}
    frames = {
        "examples": [
            head if row is None else head | _example_columns(row, checks, slices)
            for head, row in _rows(task, "examples", Example)
        ],
        "cases": [
            head if row is None else head | _case_columns(row, task, checks) | {"twin": twin}
            for (head, row), twin in zip(case_rows, twins, strict=True)
        ],
    }
    if task.has_knowledge:
        frames["knowledge"] = [_page_record(page, text) for page, text in task.pages.items()]
    return frames


def _rows(task: Task, name: str, kind: type[Row]) -> Iterator[tuple[Record, Row | None]]:
    """Of each line: its record so far, and the row, or None where its form is wrong."""
    for number, line in read_lines(task.folder / f"{name}.jsonl"):
        head: Record = {"where": f"{name}.jsonl:{number}", "id": None}
        try:
            value = parse_line(line, head["where"])
        except StepladderError as error:
            yield head | {"form": error.what}, None
            continue
        head["id"] = _ident(value, number, kind)
        try:
            yield head, kind.model_validate(value)
        except ValidationError as error:
            told = explain(error)
            yield head | {"roles" if ROLES_ALTERNATE in told else "form": told}, None


def _ident(value: Any, number: int, kind: type[Row]) -> str | None:
    """The id of a row, as `stepladder.tasks.read_rows` gives it, if it has one."""
    given = value.get("id") if isinstance(value, dict) else None
    if kind is Example and not given:
        return f"line-{number}"
    return given if isinstance(given, str) and given else None


def _case_columns(row: Case, task: Task, checks: _Checks) -> Record:
    unsupported = task.has_knowledge and row.answerable and not row.evidence
    return {
        "input": row.input.strip(),
        "answer": checks.answer(row),
        "evidence": checks.evidence(row.evidence),
        "support": "answerable, but names no evidence: retrieval cannot be scored" if unsupported else None,
    }


def _twins(rows: Sequence[Case | None]) -> list[str | None]:
    """Of each case: that an earlier one asks the same, told as the verdict tells it, or None."""
    first: dict[str, str] = {}
    told: list[str | None] = []
    for row in rows:
        key = normal_form(row.input) if row else ""
        told.append(
            f"case {first[key]!r} asks the same: one question would count as two" if key in first else None
        )
        if row and key:
            first.setdefault(key, row.id)
    return told


def _example_columns(row: Example, checks: _Checks, slices: set[str]) -> Record:
    known = row.slice in slices
    return {
        "input": row.input.strip(),
        "output": row.output.strip(),
        "answer": checks.answer(row),
        "evidence": checks.evidence(row.evidence),
        "slice_known": None if known else f"no case is of slice {row.slice!r}",
    }


def _page_record(page: str, text: str) -> Record:
    fault = f"a page's name must not hold '#': {page!r}" if "#" in page else None
    body = text.strip()
    return {
        "where": f"knowledge/{page}.md",
        "id": page,
        "form": fault,
        "text": body,
        "content": digest_text(body) if body else None,
    }


def _evidence_check(task: Task) -> _EvidenceCheck:
    """A function from a row's evidence to what it names in vain, in words."""
    sections: dict[str, set[str]] = {}

    def fault(evidence: str) -> str | None:
        page, mark, section = evidence.partition("#")
        if page not in task.pages:
            return f"no such page or section: {evidence}"
        if page not in sections:
            sections[page] = section_ids(page, task.pages[page])
        if evidence in sections[page]:
            return None
        if not sections[page]:
            return f"the page has no text: {evidence}"
        if mark and not section:
            return f"no text stands before the page's first section: {evidence}"
        if re.search(r"~\d+$", section):
            return f"names a part, which depends on how long chunks are; name the section: {evidence}"
        return f"no such page or section: {evidence}"

    def missing(evidence: list[str]) -> str | None:
        if evidence and not task.has_knowledge:
            return "names evidence, but the task has no knowledge folder"
        return "; ".join(told for item in evidence if (told := fault(item))) or None

    return missing
