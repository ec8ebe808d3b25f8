"""What a rung needs is what was measured when it was asked, whatever came from the cache."""

from __future__ import annotations

import pytest

from stepladder.errors import StepladderError
from stepladder.evaluation.records import Outcome, Response, RungOutcomes
from stepladder.evaluation.resampling import Resampling
from stepladder.evaluation.summary import summarise
from stepladder.evaluation.usage import usage_of
from stepladder.ladder.criteria import ask
from stepladder.settings import Evaluation
from stepladder.tasks import Bars


def rung(responses: list[Response]) -> RungOutcomes:
    rows = [
        Outcome(id=f"{i}", input="x", reference="y", answerable=True, slice="all", cluster="c", score=1.0,
                exact=True, valid=True, response=one)
        for i, one in enumerate(responses)
    ]  # fmt: skip
    return RungOutcomes(
        task="t", rung="rag", variant="zero-shot", model_digest="m", adapter_digest=None, outcomes=rows
    )


def response(engine_s: float, in_flight: int | None, hardware: str | None = "a machine") -> Response:
    return Response(
        text="x", prompt_tokens=90, completion_tokens=10, latency_ms=1000 * engine_s, engine_s=engine_s,
        in_flight=in_flight, hardware=hardware,
    )  # fmt: skip


def test_means_and_the_rate() -> None:
    usage = usage_of(rung([response(0.1, 32), response(0.3, 32)]))
    assert (usage.prompt_tokens, usage.completion_tokens) == (90, 10)
    assert usage.engine_s == pytest.approx(0.2)
    assert usage.tokens_per_s == pytest.approx(500)
    assert (usage.hardware, usage.in_flight, usage.measured) == (["a machine"], 32, 2)
    assert usage.latency_p50_ms == pytest.approx(200)


def test_a_few_asked_later_do_not_make_the_engine_look_slow() -> None:
    usage = usage_of(rung([response(0.1, 32)] * 9 + [response(3.0, 1)]))
    assert usage.engine_s == pytest.approx(0.1)
    assert usage.measured == 9


def test_a_rung_has_one_p95_wherever_it_is_asked_for() -> None:
    """Ten asked alone and fast after 40 under load: usage, summary and guardrail go by the 40."""
    mixed = rung([response(0.1 + i / 100, 32) for i in range(40)] + [response(0.001, 1)] * 10)
    summary, usage = summarise(mixed, Evaluation(resamples=100)), usage_of(mixed)
    assert (summary.latency_p50_ms, summary.latency_p95_ms) == (usage.latency_p50_ms, usage.latency_p95_ms)
    bars = Bars(score=0.5, latency_p95_ms=usage.latency_p95_ms)
    guardrail = ask("rag", mixed.outcomes, bars, Resampling(), None, 0.0).bounded[1]
    assert (guardrail.cases, guardrail.score.estimate) == (40, 38 / 40)


def test_responses_of_before_circumstances_were_noted_still_count() -> None:
    usage = usage_of(rung([response(0.1, None, None)] * 3))
    assert usage.engine_s == pytest.approx(0.1)
    assert "hardware that was not noted" in usage.circumstances()


def test_a_request_waits_for_retrieval_too() -> None:
    plain = rung([response(0.1, 32), response(0.3, 32)])
    searched = [one.model_copy(update={"retrieval_ms": 20.0}) for one in plain.outcomes]
    usage = usage_of(plain.model_copy(update={"outcomes": searched}))
    assert usage.retrieval_s == pytest.approx(0.02)
    assert usage.latency_p50_ms == pytest.approx(220)
    assert usage.engine_s == usage_of(plain).engine_s
    assert usage_of(plain).retrieval_s == 0


def test_no_outcomes_are_refused() -> None:
    with pytest.raises(StepladderError, match="has no outcomes"):
        usage_of(rung([]))
