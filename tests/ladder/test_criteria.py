"""The bar and the guardrails: each on a bound, or as measured where there is nothing to bound it with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.resampling import Resampling
from stepladder.evaluation.summary import ordered
from stepladder.ladder.criteria import Asked, ask
from stepladder.ladder.wording import reasons
from stepladder.tasks import Bars

Ladder = Callable[..., dict[str, RungOutcomes]]


@pytest.fixture
def rows(ladder: Ladder) -> list[Outcome]:
    """160 cases that stand alone."""
    return ordered(ladder(clusters=160, size=1)["lora+rag"])


def asked(rows: list[Outcome], forgetting: float | None = 0.03, **bars: float) -> Asked:
    return ask("lora+rag", rows, Bars(score=0.7, **bars), Resampling(), forgetting, 0.01)


def names(found: Asked) -> list[str]:
    return [one.name for one in (*found.bounded, *found.measured)]


def test_only_what_the_task_asks_is_asked(rows: list[Outcome]) -> None:
    assert names(asked(rows)) == ["score", "forgetting"]
    everything = asked(rows, abstention=0.5, valid=0.9, latency_p95_ms=1e6, cost_per_1000=1.0)
    assert names(everything) == ["score", "abstention", "valid", "latency", "forgetting", "cost"]


def test_nothing_misses_a_bar_of_0(ladder: Ladder) -> None:
    wrong = ordered(ladder({"lora": 0.0}, clusters=40, size=1)["lora"])
    found = ask("prompt", wrong, Bars(score=0), Resampling(), None, 0.01)
    assert (found.p_holds, found.p_fails) == (0, (1,))


def test_the_prompt_rung_has_nothing_to_forget(rows: list[Outcome]) -> None:
    assert names(ask("prompt", rows, Bars(score=0.7), Resampling(), None, 0.01)) == ["score"]


def test_all_must_hold(rows: list[Outcome]) -> None:
    assert asked(rows).p_holds < 0.01
    assert asked(rows, forgetting=0.2).p_holds == 1
    assert 0.0 in asked(rows, forgetting=0.2).p_fails
    assert asked(rows, cost_per_1000=0.001).p_holds == 1


def test_a_guardrail_that_no_case_speaks_to_is_open(rows: list[Outcome]) -> None:
    answerable = [one for one in rows if one.answerable]
    found = asked(answerable, abstention=0.5)
    assert names(found) == ["score", "abstention", "forgetting"]
    assert found.p_holds == 1
    assert min(found.p_fails) > 0.5
    abstention = found.measured[0].answered()
    assert (abstention.state, abstention.estimate) == ("open", None)
    said = reasons([found.bounded[0].answered(0.05, False), abstention], 0.05, Bars(score=0.7), 1.0)
    assert said[1] == "its abstention cannot be shown: no case is unanswerable, and 50% are asked for"


def test_what_was_not_measured_neither_holds_nor_fails(rows: list[Outcome]) -> None:
    found = asked(rows, forgetting=None)
    assert found.p_holds == 1
    assert min(found.p_fails) > 0.5
    assert found.measured[0].answered().state == "open"


def test_abstention_is_asked_of_the_unanswerable_cases_alone(rows: list[Outcome]) -> None:
    question = asked(rows, abstention=0.5).bounded[1]
    unanswerable = [o for o in rows if not o.answerable]
    right = sum(o.score == 1 for o in unanswerable)
    assert question.cases == len(unanswerable)
    assert question.p_holds == pytest.approx(
        stats.binomtest(right, len(unanswerable), 0.5, alternative="greater").pvalue
    )


def test_a_p95_within_the_limit_is_not_enough_without_its_bound(rows: list[Outcome]) -> None:
    latencies = np.array([o.response.latency_ms for o in rows])
    slowest = set(np.argsort(latencies)[-6:])
    late = [
        o.model_copy(update={"response": o.response.model_copy(update={"latency_ms": 9000.0})})
        if i in slowest
        else o
        for i, o in enumerate(rows)
    ]
    assert np.percentile([o.response.latency_ms for o in late], 95) < 3000
    assert asked(late, latency_p95_ms=3000).bounded[1].p_holds > 0.2
    assert asked(rows, latency_p95_ms=3000).bounded[1].p_holds == pytest.approx(0.95**160)


def test_more_cases_than_there_are_would_answer_an_open_question(rows: list[Outcome]) -> None:
    question = asked(rows, abstention=0.75).bounded[1]
    assert question.cases_needed(0.05, 0.8, of=160) > 160
