"""What a rung costs: worked by hand, and lines that cross where break_even says."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.errors import StepladderError
from stepladder.evaluation.cost import RungCost, break_even, break_evens, monthly_cost, rung_cost
from stepladder.evaluation.prices import TokenPrice
from stepladder.evaluation.usage import Usage
from stepladder.settings import Cost

PRICES = Cost(engine_per_hour=0.36, training_per_hour=3.0, adapter_life_months=3)
USAGE = Usage(
    prompt_tokens=300,
    completion_tokens=20,
    engine_s=0.5,
    tokens_per_s=640,
    latency_p50_ms=900,
    latency_p95_ms=1500,
    measured=160,
    in_flight=32,
    hardware=["2 cores of Xeon, float32"],
)
SECONDS = st.floats(0.001, 1e3)
TRAINING = st.floats(0, 1e6)
VOLUME = st.integers(1, 10**9)


def test_a_worked_example() -> None:
    cost = rung_cost(0.5, PRICES, 10_000, training_seconds=7200, index_seconds=100)
    assert cost.parts.engine == pytest.approx(0.05)  # 500 engine seconds at $0.0001 a second
    assert cost.parts.training == pytest.approx(0.2)  # $6 over 30 thousand requests
    assert cost.parts.index == pytest.approx(0.001)  # $0.01 a month, over 10 thousand
    assert cost.per_1000 == pytest.approx(0.05 + 0.2 + 0.001)
    assert cost.per_month == pytest.approx(10 * cost.per_1000)
    assert cost.fixed_per_month == pytest.approx(2.01)
    assert cost.per_request == pytest.approx(0.00005)


def test_an_engine_that_waits_costs_as_much_and_answers_less() -> None:
    idle = PRICES.model_copy(update={"engine_busy": 0.25})
    assert rung_cost(0.5, idle, 10_000).parts.engine == pytest.approx(0.2)
    assert "busy 25% of the hours paid" in rung_cost(0.5, idle, 10_000).assumptions[0]


def test_the_index_is_paid_as_often_as_it_is_rebuilt() -> None:
    weekly = PRICES.model_copy(update={"index_rebuilds_per_month": 4})
    assert rung_cost(0.5, weekly, 10_000, index_seconds=100).parts.index == pytest.approx(0.004)


def test_assumptions_name_only_what_the_rung_pays_for() -> None:
    assert len(rung_cost(0.5, PRICES, 10_000).assumptions) == 1
    trained = rung_cost(0.5, PRICES, 10_000, training_seconds=60)
    assert "training costs $3 an hour, spread over 3 months of 10,000 requests" in trained.assumptions


def test_the_throughput_is_stated_with_its_hardware() -> None:
    stated = rung_cost(0.5, PRICES, 10_000, usage=USAGE).assumptions[1]
    assert stated == (
        "640 tokens a second, 0.5 engine seconds a request, measured on 2 cores of Xeon, float32,"
        " 32 requests at a time"
    )


def test_a_hosted_model_is_paid_by_its_tokens() -> None:
    price = TokenPrice(per_input_token=1e-6, per_output_token=5e-6, source="stated in params.yaml")
    cost = rung_cost(0.5, PRICES, 10_000, index_seconds=100, usage=USAGE, price=price)
    assert cost.parts.engine == pytest.approx(1000 * (300e-6 + 100e-6))
    assert cost.parts.index > 0, "the index is still one's own"
    assert "$1 per million read, $5 per million written" in cost.assumptions[0]
    with pytest.raises(StepladderError, match="were not counted"):
        rung_cost(0.5, PRICES, 10_000, price=price)


def test_a_query_of_the_index_is_paid_with_every_request_whoever_serves_the_model() -> None:
    usage = USAGE.model_copy(update={"retrieval_s": 0.02})
    price = TokenPrice(per_input_token=1e-6, per_output_token=5e-6, source="stated in params.yaml")
    for how in ({}, {"price": price}):
        without = rung_cost(0.5, PRICES, 10_000, usage=USAGE, **how)
        cost = rung_cost(0.5, PRICES, 10_000, usage=usage, **how)
        assert without.parts.retrieval == 0
        assert cost.parts.retrieval == pytest.approx(0.002)  # 20 seconds at $0.0001 a second
        assert cost.per_1000 == pytest.approx(without.per_1000 + 0.002)
        assert cost.per_request == pytest.approx(without.per_request + 2e-6)
        assert [line for line in cost.assumptions if line not in without.assumptions] == [
            "a query of the index takes 20 ms, asked alone, at $0.36 an hour; it is part of the latency"
        ]


def test_break_even_is_where_the_monthly_costs_cross() -> None:
    slow = rung_cost(0.9, PRICES, 10_000)
    trained = rung_cost(0.3, PRICES, 10_000, training_seconds=3600)
    volume = break_even(slow, trained)
    assert volume == pytest.approx(1.0 / (0.6 * 0.0001))  # $1 a month over $0.00006 a request


def test_no_break_even_where_one_rung_is_cheaper_at_every_volume() -> None:
    cheap = rung_cost(0.3, PRICES, 10_000)
    dear = rung_cost(0.9, PRICES, 10_000, training_seconds=3600)
    assert break_even(cheap, dear) is None
    assert break_even(cheap, cheap) is None
    (pair,) = break_evens({"dear": dear, "cheap": cheap})
    assert (pair.monthly_requests, pair.below) == (None, "cheap")
    (same,) = break_evens({"a": cheap, "b": cheap})
    assert (same.monthly_requests, same.below) == (None, None)


@settings(deadline=None)
@given(st.lists(st.tuples(SECONDS, TRAINING, TRAINING), min_size=2, max_size=4), VOLUME)
def test_every_two_rungs_cost_the_same_at_their_break_even_and_change_sides_there(
    rungs: list[tuple[float, float, float]], monthly: int
) -> None:
    costs = {
        f"{number}": rung_cost(engine, PRICES, monthly, training_seconds=training, index_seconds=index)
        for number, (engine, training, index) in enumerate(rungs)
    }
    pairs = break_evens(costs)
    assert [(pair.a, pair.b) for pair in pairs] == list(combinations(costs, 2))
    for pair in pairs:
        a, b = costs[pair.a], costs[pair.b]
        if pair.monthly_requests is None:
            _never_dearer(a, b, pair.below == pair.a)
            continue
        volume = pair.monthly_requests
        assert monthly_cost(a, volume) == pytest.approx(monthly_cost(b, volume))
        cheaper, other = (a, b) if pair.below == pair.a else (b, a)
        assert monthly_cost(cheaper, volume / 2) <= monthly_cost(other, volume / 2) * (1 + 1e-9)
        assert monthly_cost(cheaper, volume * 2) >= monthly_cost(other, volume * 2) * (1 - 1e-9)


def _never_dearer(a: RungCost, b: RungCost, first: bool) -> None:
    low, high = (a, b) if first else (b, a)
    for volume in (1, 1e3, 1e9):
        assert monthly_cost(low, volume) <= monthly_cost(high, volume) * (1 + 1e-9)


@settings(deadline=None)
@given(SECONDS, TRAINING, VOLUME, st.integers(2, 1000))
def test_with_the_volume_the_bill_rises_and_the_price_of_a_request_falls(
    engine_s: float, training: float, volume: int, times: int
) -> None:
    one = rung_cost(engine_s, PRICES, volume, training_seconds=training)
    more = rung_cost(engine_s, PRICES, times * volume, training_seconds=training)
    assert more.per_month >= one.per_month * (1 - 1e-9)
    assert more.per_1000 <= one.per_1000 * (1 + 1e-9)
    assert one.per_month == pytest.approx(monthly_cost(one, volume))
    assert monthly_cost(one, times * volume) == pytest.approx(more.per_month)


def test_bad_input_is_refused() -> None:
    with pytest.raises(StepladderError, match="must not be negative"):
        rung_cost(-1, PRICES, 10_000)
    with pytest.raises(StepladderError, match="must be positive"):
        rung_cost(1, PRICES, 0)
