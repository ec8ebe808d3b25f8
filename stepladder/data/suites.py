"""What is expected of a task's rows: suites of Great Expectations, as data.

Each expectation names its type, its arguments, what a failing row did wrong (``meta.notes``, also shown in
the Data Docs) and its severity: ``critical`` stops the run, ``warning`` is told. The columns are those of
``stepladder.data.frames``. Lengths are in characters, white space at the ends not counted.
"""

from __future__ import annotations

from typing import Any

LONGEST_ID = 200
LONGEST_TEXT = 32_000
LONGEST_PAGE = 2_000_000


def _expect(kind: str, notes: str, severity: str = "critical", **arguments: Any) -> dict[str, Any]:
    return {
        "type": f"expect_{kind}",
        "kwargs": arguments,
        "meta": {"notes": notes},
        "severity": severity,
    }


def _length(column: str, most: int) -> dict[str, Any]:
    return _expect(
        "column_value_lengths_to_be_between",
        f"is empty or longer than {most:,} characters",
        column=column,
        min_value=1,
        max_value=most,
    )


def _sound(column: str, notes: str, severity: str = "critical") -> dict[str, Any]:
    """The column names a fault: it must be null."""
    return _expect("column_values_to_be_null", notes, severity, column=column)


_SOME_ROWS = _expect("table_row_count_to_be_between", "there are no rows", min_value=1)
_OWN_ID = _expect("column_values_to_be_unique", "the id stands on another row too", column="id")
_FORM = _sound("form", "has not the form of its kind")
_ANSWER = _sound("answer", "the answer does not obey the task's output schema, or its scorer cannot read it")
_EVIDENCE = _sound("evidence", "names evidence that does not exist")

SUITES: dict[str, list[dict[str, Any]]] = {
    "examples": [
        _SOME_ROWS,
        _FORM,
        _sound("roles", "the turns do not alternate"),
        _OWN_ID,
        _length("id", LONGEST_ID),
        _length("input", LONGEST_TEXT),
        _length("output", LONGEST_TEXT),
        _ANSWER,
        _EVIDENCE,
        _sound("slice_known", "no case is of its slice", "warning"),
    ],
    "cases": [
        _SOME_ROWS,
        _FORM,
        _OWN_ID,
        _length("id", LONGEST_ID),
        _length("input", LONGEST_TEXT),
        _ANSWER,
        _EVIDENCE,
        _sound("twin", "another case asks the same"),
        _sound("support", "answerable, without evidence", "warning"),
    ],
    "knowledge": [
        _SOME_ROWS,
        _FORM,
        _expect("column_values_to_not_be_null", "the page has no text", column="content"),
        _expect("column_values_to_be_unique", "another page has this text", "warning", column="content"),
        _expect(
            "column_value_lengths_to_be_between",
            f"is longer than {LONGEST_PAGE:,} characters",
            column="text",
            max_value=LONGEST_PAGE,
        ),
    ],
}
