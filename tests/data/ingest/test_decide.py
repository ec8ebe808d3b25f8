from __future__ import annotations

import pytest

from stepladder.data.ingest.decide import decide
from stepladder.data.ingest.expectations import Finding
from stepladder.settings import Ingest, IngestActions


def settings(**actions: str) -> Ingest:
    return Ingest(refuse_share=0.5, actions=IngestActions.model_validate(actions))


def findings(positions: list[int], check: str = "form") -> list[Finding]:
    return [Finding("examples", position, check, "why") for position in positions]


def test_a_bad_row_goes_to_quarantine_with_all_its_faults() -> None:
    found = decide([*findings([1]), *findings([1], "secret")], 3, settings())
    assert {position: [fault.check for fault in faults] for position, faults in found.faults.items()} == {
        1: ["form", "secret"]
    }
    assert found.refused is None


def test_a_warning_keeps_the_row() -> None:
    found = decide(findings([0, 1], "language"), 3, settings(language="warn"))
    assert not found.faults
    assert found.warnings == {"language": 2}


def test_a_case_in_conflict_is_never_kept_for_two_must_not_ask_the_same() -> None:
    found = decide([Finding("cases", 0, "conflict", "why")], 3, settings(conflict="warn"))
    assert list(found.faults) == [0]
    assert not decide(findings([0], "conflict"), 3, settings(conflict="warn")).faults


def test_a_refusal_takes_all_rows_of_the_kind() -> None:
    found = decide(findings([1], "secret"), 3, settings(secret="refuse"))
    assert found.refused == "secret: why"
    assert sorted(found.faults) == [0, 1, 2]
    assert [fault.check for fault in found.faults[1]] == ["secret", "batch"]


def test_a_check_of_the_whole_batch_refuses_or_warns() -> None:
    drift = [Finding("examples", None, "label_drift", "far")]
    assert decide(drift, 2, settings(label_drift="refuse")).refused == "label_drift: far"
    assert decide(drift, 2, settings(label_drift="warn")).warnings == {"label_drift": 1}


@pytest.mark.parametrize(("bad", "rows", "refused"), [(10, 20, False), (11, 20, True), (19, 19, False)])
def test_too_many_bad_rows_refuse_a_batch_that_is_large_enough(bad: int, rows: int, *, refused: bool) -> None:
    found = decide(findings(list(range(bad))), rows, settings())
    assert bool(found.refused) == refused
    assert len(found.faults) == (rows if refused else bad)
