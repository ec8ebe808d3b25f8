"""The tree tells what was measured on each branch, and leaves open what was not."""

from __future__ import annotations

from typing import Any

import pytest

from stepladder.ladder.markdown import summary
from stepladder.ladder.tree import Branch, branches
from stepladder.ladder.verdict import decide
from stepladder.tasks import Bars

from .conftest import SCORES, SPEC, make_evidence, make_outcomes, needed


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
    assert found["Is knowledge missing?"].evidence == (
        "of the failing cases 50%: knowledge 50%; 0.57 (0.50 to 0.64) of all cases, where the margin of 0.05"
        " matters"
    )
    assert found["Does a gap in behaviour remain?"].evidence.startswith(
        "of the failing cases 25%: grounding 25%; 0.29 (0.22 to 0.36) of all cases with rag too, where"
    )


@pytest.mark.parametrize(("share", "answer"), [(0.2, True), (0.01, None), (0.1, None)])
def test_a_cause_answers_yes_only_where_it_is_shown_to_matter(share: float, answer: bool | None) -> None:
    found = tree(gaps={"behaviour": 1.0}, needs={"training": needed(share), "documents": needed(0.0, 0.03)})
    assert found["Does a gap in behaviour remain?"].answer is answer
    assert found["Is knowledge missing?"].answer is False
    assert tree(gaps={"behaviour": 1.0}, needs={})["Does a gap in behaviour remain?"].answer is None


def test_what_no_adapter_was_asked_is_not_called_behaviour() -> None:
    cheap = {rung: score for rung, score in SCORES.items() if not rung.startswith("lora")}
    gaps = {"grounding": 0.25, "behaviour": 0.75, "capability": 0.0}
    question = "Does a gap in behaviour remain?"
    untold = "grounding 25%, behaviour or capability, not told apart 75%"
    assert untold in tree(cheap, gaps=gaps)[question].evidence
    assert "grounding 25%, behaviour 75%" in tree(gaps=gaps)[question].evidence


def test_a_task_without_documents_leaves_open_whether_knowledge_is_missing() -> None:
    alone = {rung: score for rung, score in SCORES.items() if "rag" not in rung}
    assert tree(alone)["Is knowledge missing?"].answer is None


def slow(limit: float, **bars: float) -> dict[str, Any]:
    """lora+rag takes 720 to 2,880 ms, its p95 is 2,880."""
    return {"spec": SPEC.model_copy(update={"bars": Bars(score=0.7, latency_p95_ms=limit, **bars)})}


def test_good_enough_but_too_slow_ends_in_a_smaller_model() -> None:
    outcomes = {rung: make_outcomes(rung, score) for rung, score in SCORES.items()}
    verdict = decide(make_evidence(outcomes, **slow(2000)))
    (burden,) = verdict.burdens
    assert (burden.rung, burden.guardrail, burden.shown) == ("lora+rag", "latency", True)
    told = "its p95 latency of 2,880 ms is 1.4 times the 2,000 ms that are allowed"
    branch = next(one for one in branches(verdict) if "too slow" in one.question)
    assert branch.answer is True
    for text in (branch.evidence, verdict.sentence, summary(verdict)):
        assert told in text
        assert "smaller model" in text
        assert "models.base" in text


def test_good_enough_but_too_dear_names_the_price() -> None:
    cost = make_evidence({"lora+rag": make_outcomes("lora+rag", 0.83)}).costs["lora+rag"].per_1000
    branch = tree(**slow(1e6, cost_per_1000=cost / 2))["Is one good enough, but too slow or too dear?"]
    assert branch.answer is True
    assert "per 1,000 requests is 2 times" in branch.evidence


def test_neither_a_fast_rung_nor_a_poor_one_calls_for_a_smaller_model() -> None:
    question = "Is one good enough, but too slow or too dear?"
    assert tree(**slow(1e6))[question].answer is False
    assert tree({**SCORES, "lora+rag": 0.5}, **slow(100))[question].answer is False
    assert question not in tree(), "asked only where the task sets a limit"


def test_retrieval_is_judged_by_its_own_metric() -> None:
    question = "Are the right documents found?"
    for recall, answer in ((0.5, False), (0.9, True), (0.82, None)):
        assert tree(retrieval={"recall@3": needed(recall)})[question].answer is answer
    assert tree(retrieval={"recall@3": needed(0.5, 0.1)})[question].evidence == (
        "recall@3 is 0.50 (0.40 to 0.60), where 0.8 is enough"
    )
