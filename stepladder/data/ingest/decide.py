"""From failed checks to what becomes of each row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from stepladder.data.ingest.expectations import Finding
from stepladder.data.ingest.records import Fault
from stepladder.settings import Ingest

# Of fewer new rows a share says little: each bad one goes to quarantine by itself.
_FEWEST_TO_REFUSE = 20


@dataclass(frozen=True)
class Decision:
    """Faults by position of the rows that go to quarantine; why all of them do, if so; warnings by check."""

    faults: dict[int, list[Fault]]
    refused: str | None
    warnings: Counter[str]


def decide(findings: Sequence[Finding], rows: int, settings: Ingest) -> Decision:
    """What becomes of the new rows of one kind.

    Args:
        findings: their failed checks.
        rows: how many there are.
        settings: what follows a failed check, and how many bad rows are too many.
    """
    faults: dict[int, list[Fault]] = defaultdict(list)
    warnings: Counter[str] = Counter()
    refusals = []
    for finding in findings:
        action = getattr(settings.actions, finding.check, "quarantine")
        # Two cases that ask the same would stop every later stage.
        if (finding.kind, finding.check, action) == ("cases", "conflict", "warn"):
            action = "quarantine"
        if action == "warn":
            warnings[finding.check] += 1
            continue
        if action == "refuse":
            refusals.append(f"{finding.check}: {finding.reason}")
        if finding.position is not None:
            faults[finding.position].append(Fault(check=finding.check, reason=finding.reason))
    if rows >= _FEWEST_TO_REFUSE and len(faults) > settings.refuse_share * rows:
        refusals.append(f"{len(faults)} of {rows} new rows are bad")
    refused = "; ".join(dict.fromkeys(refusals[:3])) or None
    if refused:
        for position in range(rows):
            faults[position].append(Fault(check="batch", reason=f"the batch is refused: {refused}"))
    return Decision(dict(faults), refused, warnings)
