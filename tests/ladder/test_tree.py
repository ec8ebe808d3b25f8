"""The tree tells what was measured on each branch, and leaves open what was not."""

from __future__ import annotations

from typing import Any

from stepladder.evaluation.statistics import Interval
from stepladder.ladder.tree import Branch, branches
from stepladder.ladder.verdict import decide

from .conftest import SCORES, make_evidence, make_outcomes


def tree(scores: dict[str, float] = SCORES, **more: Any) -> dict[str, Branch]:
    outcomes = {rung: make_outcomes(rung, score) for rung, score in scores.items()}
    return {branch.question: branch for branch in branches(decide(make_evidence(outcomes, **more)))}


def test_each_rung_is_asked_whether_it_is_good_enough() -> None:
    found = tree()
    assert found["Is a prompt good enough?"].answer is False
    assert found["Is retrieval good enough?"].answer is False
    assert found["Is lora+rag good enough?"].answer is True
    assert found["Does anything help?"].answer is True
    assert "it scores 0.06" in found["Is a prompt good enough?"].evidence


def test_a_rung_that_was_not_run_is_open_and_says_why() -> None:
    cheap = {rung: score for rung, score in SCORES.items() if not rung.startswith("lora")}
    found = tree(cheap, skipped={"lora": "too few examples"})
    assert found["Is lora good enough?"].answer is None
    assert "too few examples" in found["Is lora good enough?"].evidence


def test_causes_of_failure_are_summed_by_what_would_mend_them() -> None:
    found = tree(gaps={"knowledge": 0.5, "grounding": 0.25, "capability": 0.25})
    assert found["Is knowledge missing?"].evidence == "of the failing cases 50%: knowledge 50%"
    assert found["Does a gap in behaviour remain?"].evidence == "of the failing cases 25%: grounding 25%"


def test_a_task_without_documents_leaves_open_whether_knowledge_is_missing() -> None:
    alone = {rung: score for rung, score in SCORES.items() if "rag" not in rung}
    assert tree(alone)["Is knowledge missing?"].answer is None


def test_retrieval_is_judged_by_its_own_metric() -> None:
    recall = Interval(estimate=0.5, low=0.4, high=0.6, confidence=0.95, method="cluster bootstrap")
    found = tree(retrieval={"recall@3": recall})
    assert found["Are the right documents found?"] == Branch(
        question="Are the right documents found?", answer=False, evidence="recall@3 is 0.50 (0.40 to 0.60)"
    )
