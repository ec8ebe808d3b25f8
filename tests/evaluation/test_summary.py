"""From outcomes to numbers: scores, slices, guardrails, latency; paired by id, whatever the order."""

from __future__ import annotations

import pytest

from stepladder.errors import StepladderError
from stepladder.evaluation.records import Counts, Outcome, Response, RungOutcomes
from stepladder.evaluation.summary import compare, summarise
from stepladder.settings import Evaluation

QUICK = Evaluation(resamples=200)


def outcome(number: int, score: float, counts: Counts | None = None) -> Outcome:
    return Outcome(
        id=f"case-{number:03d}",
        input="question",
        reference="answer",
        answerable=number % 5 != 0,
        slice="even" if number % 2 == 0 else "odd",
        cluster=f"page {number // 4}",
        score=score,
        exact=score == 1,
        valid=number % 10 != 0,
        counts=counts,
        response=Response(
            text="said",
            prompt_tokens=100 + number,
            completion_tokens=5,
            latency_ms=10.0 * number,
            engine_s=0.25,
        ),
    )


def rung(outcomes: list[Outcome], name: str = "rag") -> RungOutcomes:
    return RungOutcomes(
        task="t", rung=name, variant="top-3", model_digest="m", adapter_digest=None, outcomes=outcomes
    )


def test_numbers_of_a_rung() -> None:
    summary = summarise(rung([outcome(i, float(i % 4 != 0)) for i in range(40)]), QUICK)
    assert (summary.n, summary.clusters, summary.statistic) == (40, 10, "mean")
    assert summary.score == pytest.approx(0.75)
    assert summary.exact_rate == pytest.approx(0.75)
    assert summary.valid_rate == pytest.approx(0.9)
    assert summary.abstention_accuracy == pytest.approx(6 / 8)  # of 0, 5, .. 35, those not divisible by 4
    assert (summary.latency_p50_ms, summary.latency_p95_ms) == pytest.approx((195, 370.5))
    assert summary.prompt_tokens_mean == pytest.approx(119.5)
    assert {name: part.n for name, part in summary.slices.items()} == {"even": 20, "odd": 20}
    assert summary.slices["odd"].score == 1
    assert summary.slices["even"].score == pytest.approx(0.5)


def test_the_order_of_the_cases_does_not_matter() -> None:
    outcomes = [outcome(i, float(i % 3 != 0)) for i in range(40)]
    assert summarise(rung(outcomes[::-1]), QUICK) == summarise(rung(outcomes), QUICK)


def test_counted_issues_are_scored_by_micro_f1() -> None:
    outcomes = [outcome(i, 0.5, Counts(tp=1, fp=i % 2, fn=1)) for i in range(20)]
    summary = summarise(rung(outcomes), QUICK)
    assert summary.statistic == "micro-f1"
    assert summary.score == pytest.approx(40 / (40 + 10 + 20))


def test_no_unanswerable_cases_leave_abstention_open() -> None:
    assert summarise(rung([outcome(i, 1.0) for i in (1, 2, 6, 7)]), QUICK).abstention_accuracy is None


def test_pairs_are_matched_by_id() -> None:
    right = [outcome(i, 1.0) for i in range(40)]
    half = [outcome(i, float(i % 2)) for i in range(40)]
    compared = compare(rung(right, "lora+rag"), rung(half[::-1]), QUICK)
    assert compared.difference == pytest.approx(0.5)
    assert compared.interval.low > 0


def test_unequal_cases_are_refused_by_name() -> None:
    with pytest.raises(StepladderError, match=r"same cases.*case-039"):
        compare(
            rung([outcome(i, 1.0) for i in range(40)], "lora"),
            rung([outcome(i, 1.0) for i in range(39)]),
            QUICK,
        )


def test_duplicate_cases_are_refused_not_counted_twice() -> None:
    with pytest.raises(StepladderError, match=r"stand twice.*case-003"):
        summarise(rung([outcome(i, 1.0) for i in (1, 2, 3, 3)]), QUICK)


def test_no_outcomes_are_refused() -> None:
    with pytest.raises(StepladderError, match="no outcomes"):
        summarise(rung([]), QUICK)
