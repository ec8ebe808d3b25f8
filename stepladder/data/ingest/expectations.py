"""Great Expectations over a batch's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stepladder.data.expectations import Checked, results_of
from stepladder.data.ingest.records import Kind
from stepladder.data.ingest.suites import Expectation
from stepladder.errors import StepladderError

Record = dict[str, Any]

_LONGEST_REASON = 500


class Table(NamedTuple):
    """One record a row, and what is expected of them."""

    records: Sequence[Record]
    suite: Sequence[Expectation]


class Finding(NamedTuple):
    """A failed check. ``position`` counts the records; None where the batch as a whole failed it."""

    kind: Kind
    position: int | None
    check: str
    reason: str


def run_suites(tables: Mapping[Kind, Table], docs: Path) -> list[Finding]:
    """Check the tables, and write Great Expectations' site for reading in a browser.

    Args:
        tables: by kind; a record has all the columns that its suite names.
        docs: the folder of the site; replaced.

    Raises:
        StepladderError: an expectation could not be checked.
    """
    checked = {
        kind: Checked(sorted({item["kwargs"]["column"] for item in table.suite}), table.records, table.suite)
        for kind, table in tables.items()
        if table.records
    }
    return [
        finding
        for kind, item in results_of("batch", checked, docs)
        for finding in _findings(kind, item, checked[kind].records)
    ]


def _findings(kind: Kind, item: Any, records: Sequence[Record]) -> Iterator[Finding]:
    if item.success:
        return
    config = item.expectation_config
    check, notes = config.meta["check"], config.meta["notes"]
    if item.exception_info.get("raised_exception"):
        raise StepladderError(
            f"the expectation {config.type} could not be checked: {item.exception_info['exception_message']}",
            where=f"stepladder/data/ingest/suites.py, suite {kind}, check {check}",
            remedy="mend the suite",
        )
    positions = item.result.get("unexpected_index_list")
    if positions is None:
        measured = item.result.get("observed_value")
        yield Finding(kind, None, check, f"{notes}: {measured}")
        return
    for position in positions:
        told = records[int(position)].get(check) if config.kwargs["column"] == check else None
        reason = str(told or notes) if config.type.endswith("to_be_null") else notes
        yield Finding(kind, int(position), check, reason[:_LONGEST_REASON])
