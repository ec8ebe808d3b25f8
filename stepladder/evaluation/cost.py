"""What a rung costs at a volume: engine, training and index, and the volume at which two rungs cost the same.

A rung's monthly cost is a line: what every month costs whatever the volume (training spread over the
adapter's life, the index rebuilt), plus what a request costs (engine time as measured, or tokens where
others serve the base model, and a query of the index) times the volume. So two rungs break even where their
lines cross, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from pydantic import Field

from stepladder.errors import StepladderError
from stepladder.evaluation.prices import TokenPrice
from stepladder.evaluation.usage import Usage
from stepladder.settings import Cost
from stepladder.tasks import Strict


class CostParts(Strict):
    """US dollars per 1,000 requests."""

    engine: float
    retrieval: float = 0.0
    training: float
    index: float


class RungCost(Strict):
    """US dollars per 1,000 requests and per month at a volume, with what was measured and assumed.

    ``per_request`` and ``fixed_per_month`` are the line that holds at every volume.
    """

    per_1000: float
    per_month: float
    monthly_requests: int
    parts: CostParts
    per_request: float
    fixed_per_month: float
    usage: Usage | None = None
    paid_per_token: bool = Field(default=False, description="others serve the model: no engine is rented")
    assumptions: list[str]


class BreakEven(Strict):
    """Where rungs ``a`` and ``b`` cost the same: below that volume ``below`` is the cheaper, above the other.

    ``monthly_requests`` is None where one is never dearer at any volume; it is then ``below``, or None where
    the two cost the same at every volume.
    """

    a: str
    b: str
    monthly_requests: float | None
    below: str | None


def rung_cost(
    engine_s_mean: float,
    cost: Cost,
    monthly_requests: int,
    *,
    training_seconds: float | None = None,
    index_seconds: float | None = None,
    usage: Usage | None = None,
    price: TokenPrice | None = None,
) -> RungCost:
    """Cost of a rung at a task's monthly volume.

    Args:
        engine_s_mean: engine seconds one request takes with the engine kept busy.
        cost: prices in US dollars, and the adapter's life.
        monthly_requests: the task's volume.
        training_seconds: how long the adapter took to train; None for a rung without one.
        index_seconds: how long the documents take to embed and index anew; None for a rung without
            retrieval.
        usage: what the rung was measured to need, a query of the index included.
        price: per token, for a rung whose model others serve; ``usage`` then gives the tokens.

    Raises:
        StepladderError: a time is negative, the volume is not positive, or tokens are to be paid for and
            were not counted.
    """
    seconds = (engine_s_mean, training_seconds or 0.0, index_seconds or 0.0)
    if min(seconds) < 0 or monthly_requests <= 0:
        raise StepladderError(
            "times must not be negative and the monthly volume must be positive",
            remedy="set monthly_requests in task.yaml to how many requests you expect",
        )
    engine = _per_request(engine_s_mean, cost, usage, price)
    retrieval = _hours(usage.retrieval_s if usage else None) * cost.engine_per_hour
    training = _hours(training_seconds) * cost.training_per_hour / cost.adapter_life_months
    index = _hours(index_seconds) * cost.engine_per_hour * cost.index_rebuilds_per_month
    thousands = monthly_requests / 1000
    parts = CostParts(
        engine=1000 * engine,
        retrieval=1000 * retrieval,
        training=training / thousands,
        index=index / thousands,
    )
    per_1000 = parts.engine + parts.retrieval + parts.training + parts.index
    return RungCost(
        per_1000=per_1000,
        per_month=per_1000 * thousands,
        monthly_requests=monthly_requests,
        parts=parts,
        per_request=engine + retrieval,
        fixed_per_month=training + index,
        usage=usage,
        paid_per_token=price is not None,
        assumptions=_assumptions(cost, monthly_requests, training_seconds, index_seconds, usage, price),
    )


def monthly_cost(cost: RungCost, requests: float) -> float:
    """US dollars a month at another volume."""
    return cost.fixed_per_month + cost.per_request * requests


def break_even(a: RungCost, b: RungCost) -> float | None:
    """Monthly requests at which two rungs cost the same; None where one is cheaper at every volume.

    Both rungs must have been priced with the same settings.
    """
    slope = a.per_request - b.per_request
    if slope == 0:
        return None
    volume = (b.fixed_per_month - a.fixed_per_month) / slope
    return volume if volume > 0 else None


def break_evens(costs: Mapping[str, RungCost]) -> list[BreakEven]:
    """Every two rungs, in the order given."""
    found = []
    for a, b in combinations(costs, 2):
        one, other = costs[a], costs[b]
        volume = break_even(one, other)
        # Below it the smaller fixed part wins; without one, the line that lies nowhere above the other.
        line_a = (one.fixed_per_month, one.per_request)
        line_b = (other.fixed_per_month, other.per_request)
        below = None if line_a == line_b else a if line_a < line_b else b
        found.append(BreakEven(a=a, b=b, monthly_requests=volume, below=below))
    return found


def _per_request(engine_s_mean: float, cost: Cost, usage: Usage | None, price: TokenPrice | None) -> float:
    if price is None:
        return _hours(engine_s_mean) * cost.engine_per_hour / cost.engine_busy
    if usage is None:
        raise StepladderError(
            "the tokens of this rung were not counted, and its model is paid per token",
            where="cost.hosted in params.yaml",
            remedy="evaluate it again: dvc repro",
        )
    return usage.prompt_tokens * price.per_input_token + usage.completion_tokens * price.per_output_token


def _hours(seconds: float | None) -> float:
    return (seconds or 0.0) / 3600


def _assumptions(
    cost: Cost,
    monthly_requests: int,
    training_seconds: float | None,
    index_seconds: float | None,
    usage: Usage | None,
    price: TokenPrice | None,
) -> list[str]:
    lines = [_engine_assumption(cost, price)]
    if usage is not None and price is None:
        lines.append(usage.circumstances())
    if usage is not None and usage.retrieval_s:
        lines.append(
            f"a query of the index takes {1000 * usage.retrieval_s:.3g} ms, asked alone, at"
            f" ${cost.engine_per_hour:g} an hour; it is part of the latency"
        )
    if training_seconds is not None:
        lines.append(
            f"training costs ${cost.training_per_hour:g} an hour, spread over {cost.adapter_life_months:g}"
            f" months of {monthly_requests:,} requests"
        )
    if index_seconds is not None:
        lines.append(
            f"all documents are embedded and indexed anew {cost.index_rebuilds_per_month:g} times a month,"
            f" {index_seconds:,.0f} s at ${cost.engine_per_hour:g} an hour, and nothing is taken from a cache"
        )
    return lines


def _engine_assumption(cost: Cost, price: TokenPrice | None) -> str:
    if price is not None:
        return (
            f"the model is paid per token: ${1e6 * price.per_input_token:g} per million read,"
            f" ${1e6 * price.per_output_token:g} per million written ({price.source})"
        )
    busy = "is kept busy" if cost.engine_busy == 1 else f"is busy {cost.engine_busy:.0%} of the hours paid"
    return f"the engine costs ${cost.engine_per_hour:g} an hour and {busy}"
