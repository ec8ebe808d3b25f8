"""What a rung needs of the engine, as measured when its responses were asked, on the hardware of then."""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.errors import StepladderError
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.tasks import Strict


class Usage(Strict):
    """Means over a rung's responses, each with the circumstances in which it was asked.

    Attributes:
        prompt_tokens, completion_tokens: read and written for one request.
        engine_s: engine seconds of one request, over the responses asked when the engine was busiest.
        tokens_per_s: read and written, over the same responses.
        retrieval_s: seconds of one query of the index, asked alone; 0 for a rung without retrieval.
        latency_p50_ms, latency_p95_ms: under the load of the measurement, retrieval included.
        measured: how many responses the rate rests on.
        in_flight: how many requests were asked at once for them; None where that was not noted.
        hardware: what they were asked of; empty where that was not noted.
    """

    prompt_tokens: float
    completion_tokens: float
    engine_s: float
    retrieval_s: float = 0.0
    tokens_per_s: float | None
    latency_p50_ms: float
    latency_p95_ms: float
    measured: int
    in_flight: int | None
    hardware: list[str]

    def circumstances(self) -> str:
        """One line for people."""
        on = " and ".join(self.hardware) or "hardware that was not noted"
        load = f", {self.in_flight} requests at a time" if self.in_flight else ""
        rate = f"{self.tokens_per_s:,.0f} tokens a second, " if self.tokens_per_s else ""
        return f"{rate}{self.engine_s:.3g} engine seconds a request, measured on {on}{load}"


def usage_of(rung: RungOutcomes) -> Usage:
    """What a rung needs.

    A response that came from the cache counts with the time it took when it was asked. A handful asked
    later, with few beside them, would make the engine look slow: the rate is of the responses that were
    asked with the most in flight.

    Raises:
        StepladderError: there are no outcomes.
    """
    import numpy as np

    if not rung.outcomes:
        raise StepladderError(
            f"the rung {rung.rung} has no outcomes", where=rung.task, remedy="evaluate it: dvc repro"
        )
    responses = [outcome.response for outcome in rung.outcomes]
    busiest = timed_alike(rung.outcomes)
    timed = [outcome.response for outcome in busiest]
    engine_s = float(np.mean([one.engine_s for one in timed]))
    tokens = float(np.mean([one.prompt_tokens + one.completion_tokens for one in timed]))
    p50, p95 = np.percentile([outcome.latency_ms for outcome in busiest], [50, 95])
    return Usage(
        prompt_tokens=float(np.mean([one.prompt_tokens for one in responses])),
        completion_tokens=float(np.mean([one.completion_tokens for one in responses])),
        engine_s=engine_s,
        retrieval_s=float(np.mean([outcome.retrieval_ms for outcome in rung.outcomes])) / 1000,
        tokens_per_s=tokens / engine_s if engine_s else None,
        latency_p50_ms=float(p50),
        latency_p95_ms=float(p95),
        measured=len(timed),
        in_flight=timed[0].in_flight,
        hardware=sorted({one.hardware for one in timed if one.hardware}),
    )


def timed_alike(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes whose times count, in the order given: those that were asked when the engine was busiest.

    Latency and cost go by these alone: what was asked later, with few beside it, was served otherwise.
    """
    most = max(outcome.response.in_flight or 0 for outcome in outcomes)
    return [outcome for outcome in outcomes if (outcome.response.in_flight or 0) == most]
