"""What becomes of the cases and examples of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder.data.ingest.columns import Surroundings, label_records, row_records
from stepladder.data.ingest.decide import decide
from stepladder.data.ingest.expectations import Finding, Table, run_suites
from stepladder.data.ingest.fill import RowKind
from stepladder.data.ingest.likeness import Rows, split_known
from stepladder.data.ingest.quarantine import held_key
from stepladder.data.ingest.records import Counts, Fault, Kind
from stepladder.data.ingest.rows import Arrived, as_sent, traits
from stepladder.data.ingest.screen import Record
from stepladder.data.ingest.suites import SUITES, Expectation, drift_expectation
from stepladder.tasks import Case, Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROW_KINDS: tuple[RowKind, ...] = ("cases", "examples")


@dataclass(frozen=True)
class RowPlan:
    """The rows of one kind: those kept, with the bands of their turns, and those that are not."""

    counts: Counts
    kept: list[Example | Case]
    bands: NDArray[np.int64]
    held: list[tuple[Arrived, list[Fault]]]
    refused: str | None
    warnings: Counter[str]


@dataclass(frozen=True)
class _New:
    """Rows that are not known: the sound ones, then the lines that are no rows."""

    rows: Rows
    conflicts: dict[int, str]
    lines: list[Arrived]


def plan_rows(
    arrived: Mapping[RowKind, Sequence[Arrived]],
    around: Surroundings,
    held: Mapping[str, set[str]],
    docs: Path,
) -> dict[RowKind, RowPlan]:
    """Check all rows and decide.

    Args:
        arrived: the lines that came, by kind, in order.
        around: what they are held against.
        held: keys of the rows that are in quarantine, by kind: they are known already.
        docs: the folder of the Data Docs.
    """
    new = {kind: _new_rows(kind, arrived[kind], around, held.get(kind, set())) for kind in ROW_KINDS}
    tables: dict[Kind, Table] = {
        "cases": _table(new["cases"], None, around),
        "examples": _table(new["examples"], new["cases"].rows, around),
    }
    findings = run_suites(tables, docs) if any(table.records for table in tables.values()) else []
    return {
        kind: _row_plan(len(arrived[kind]), new[kind], [one for one in findings if one.kind == kind], around)
        for kind in ROW_KINDS
    }


def _new_rows(kind: RowKind, arrived: Sequence[Arrived], around: Surroundings, held: set[str]) -> _New:
    waiting = [one for one in arrived if not (held and held_key(as_sent(one.raw)) in held)]
    sound = [(one, one.row) for one in waiting if one.row is not None]
    found = [traits(row) for _, row in sound]
    repeated, conflicts = split_known(kind, found, around.known)
    gone = set(repeated)
    positions = [position for position in range(len(sound)) if position not in gone]
    rows = Rows(kind, [sound[old][1] for old in positions], [found[old] for old in positions])
    return _New(
        rows=rows,
        conflicts={new: conflicts[old] for new, old in enumerate(positions) if old in conflicts},
        lines=[sound[position][0] for position in positions] + [one for one in waiting if one.row is None],
    )


def _table(new: _New, cases: Rows | None, around: Surroundings) -> Table:
    records = row_records(new.rows, cases, new.conflicts, around)
    drift = _drift_suite(new.rows, records, around)
    formless: list[Record] = [{one.check: one.fault} for one in new.lines[len(records) :]]
    return Table(records + formless, [*SUITES[new.rows.kind], *drift])


def _drift_suite(new: Rows, records: list[Record], around: Surroundings) -> list[Expectation]:
    settings = around.settings.ingest
    if min(len(records), around.known.total(new.kind)) < settings.drift_rows:
        return []
    seen = {
        "slice": around.known.counts(new.kind, "slice", 1),
        "label": label_records(records, new.kind, around.known),
        "length": around.known.counts(new.kind, "length", 1),
    }
    return [drift_expectation(what, counts, settings.drift) for what, counts in seen.items()]


def _row_plan(arrived: int, new: _New, findings: Sequence[Finding], around: Surroundings) -> RowPlan:
    import numpy as np

    decision = decide(findings, len(new.lines), around.settings.ingest)
    kept = [position for position in range(len(new.rows.rows)) if position not in decision.faults]
    sound = set(kept)
    return RowPlan(
        counts=Counts(
            arrived=arrived,
            kept=len(kept),
            quarantined=len(decision.faults),
            known=arrived - len(new.lines),
        ),
        kept=[new.rows.rows[position] for position in kept],
        bands=new.rows.bands[np.array([position in sound for position in new.rows.of], dtype=bool)],
        held=[(new.lines[position], faults) for position, faults in sorted(decision.faults.items())],
        refused=decision.refused,
        warnings=decision.warnings,
    )
