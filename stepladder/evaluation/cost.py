"""What a rung costs per request: engine time measured in the run, training and indexing amortised."""

from __future__ import annotations

from stepladder.errors import StepladderError
from stepladder.settings import Cost
from stepladder.tasks import Strict


class CostParts(Strict):
    """US dollars per 1,000 requests."""

    engine: float
    training: float
    index: float


class RungCost(Strict):
    """US dollars per 1,000 requests and per month at a volume, with what was assumed."""

    per_1000: float
    per_month: float
    monthly_requests: int
    parts: CostParts
    assumptions: list[str]


def rung_cost(
    engine_s_mean: float,
    cost: Cost,
    monthly_requests: int,
    *,
    training_seconds: float | None = None,
    index_seconds: float | None = None,
) -> RungCost:
    """Cost of a rung at a task's monthly volume.

    Args:
        engine_s_mean: engine seconds one request takes with the engine kept busy.
        cost: prices in US dollars, and the adapter's life.
        monthly_requests: the task's volume.
        training_seconds: how long the adapter took to train; None for a rung without one.
        index_seconds: how long the documents took to embed and index; None for a rung without retrieval.

    Raises:
        StepladderError: a time is negative or the volume is not positive.
    """
    seconds = (engine_s_mean, training_seconds or 0.0, index_seconds or 0.0)
    if min(seconds) < 0 or monthly_requests <= 0:
        raise StepladderError(
            "times must not be negative and the monthly volume must be positive",
            remedy="set monthly_requests in task.yaml to how many requests you expect",
        )
    requests_in_life = cost.adapter_life_months * monthly_requests
    parts = CostParts(
        engine=1000 * _hours(engine_s_mean) * cost.engine_per_hour,
        training=1000 * _hours(training_seconds) * cost.training_per_hour / requests_in_life,
        index=1000 * _hours(index_seconds) * cost.engine_per_hour / requests_in_life,
    )
    per_1000 = parts.engine + parts.training + parts.index
    return RungCost(
        per_1000=per_1000,
        per_month=per_1000 * monthly_requests / 1000,
        monthly_requests=monthly_requests,
        parts=parts,
        assumptions=_assumptions(cost, monthly_requests, training_seconds, index_seconds),
    )


def break_even(a: RungCost, b: RungCost) -> float | None:
    """Monthly requests at which two rungs cost the same; None where one is cheaper at every volume.

    A rung's monthly cost is a line: its fixed part (training and indexing spread over the adapter's life)
    plus its engine cost times the volume. Both rungs must have been priced with the same settings.
    """
    slope = (a.parts.engine - b.parts.engine) / 1000
    if slope == 0:
        return None
    volume = (_fixed_per_month(b) - _fixed_per_month(a)) / slope
    return volume if volume > 0 else None


def _fixed_per_month(cost: RungCost) -> float:
    return (cost.parts.training + cost.parts.index) * cost.monthly_requests / 1000


def _hours(seconds: float | None) -> float:
    return (seconds or 0.0) / 3600


def _assumptions(
    cost: Cost, monthly_requests: int, training_seconds: float | None, index_seconds: float | None
) -> list[str]:
    life = f"spread over {cost.adapter_life_months:g} months of {monthly_requests:,} requests"
    lines = [f"the engine costs ${cost.engine_per_hour:g} an hour and is kept busy"]
    if training_seconds is not None:
        lines.append(f"training costs ${cost.training_per_hour:g} an hour, {life}")
    if index_seconds is not None:
        lines.append(f"embedding and indexing cost ${cost.engine_per_hour:g} an hour, {life}")
    return lines
