"""What a rung costs: worked by hand, and the lines that cross where break_even says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.errors import StepladderError
from stepladder.evaluation.cost import break_even, rung_cost
from stepladder.settings import Cost

PRICES = Cost(engine_per_hour=0.36, training_per_hour=3.0, adapter_life_months=3)


def test_a_worked_example() -> None:
    cost = rung_cost(0.5, PRICES, 10_000, training_seconds=7200, index_seconds=100)
    assert cost.parts.engine == pytest.approx(0.05)  # 500 engine seconds at $0.0001 a second
    assert cost.parts.training == pytest.approx(0.2)  # $6 over 30 thousand requests
    assert cost.parts.index == pytest.approx(0.01 / 30)
    assert cost.per_1000 == pytest.approx(0.05 + 0.2 + 0.01 / 30)
    assert cost.per_month == pytest.approx(10 * cost.per_1000)


def test_assumptions_name_only_what_the_rung_pays_for() -> None:
    plain = rung_cost(0.5, PRICES, 10_000)
    assert len(plain.assumptions) == 1
    trained = rung_cost(0.5, PRICES, 10_000, training_seconds=60)
    assert "training costs $3 an hour, spread over 3 months of 10,000 requests" in trained.assumptions


def test_break_even_is_where_the_monthly_costs_cross() -> None:
    slow = rung_cost(0.9, PRICES, 10_000)
    trained = rung_cost(0.3, PRICES, 10_000, training_seconds=3600)
    volume = break_even(slow, trained)
    assert volume == pytest.approx(1.0 / (0.6 * 0.0001))  # $1 a month over $0.00006 a request
    again = [
        rung_cost(0.9, PRICES, round(volume)).per_month,
        rung_cost(0.3, PRICES, round(volume), training_seconds=3600).per_month,
    ]
    assert again[0] == pytest.approx(again[1], rel=1e-3)


def test_no_break_even_where_one_rung_is_cheaper_at_every_volume() -> None:
    cheap = rung_cost(0.3, PRICES, 10_000)
    dear = rung_cost(0.9, PRICES, 10_000, training_seconds=3600)
    assert break_even(cheap, dear) is None
    assert break_even(cheap, cheap) is None


@given(st.floats(0.01, 10), st.floats(0, 1e5), st.integers(1, 10**7))
def test_amortised_training_falls_with_volume(engine_s: float, training: float, volume: int) -> None:
    one = rung_cost(engine_s, PRICES, volume, training_seconds=training)
    ten = rung_cost(engine_s, PRICES, 10 * volume, training_seconds=training)
    assert ten.per_1000 <= one.per_1000 + 1e-12
    assert one.per_1000 == pytest.approx(one.parts.engine + one.parts.training + one.parts.index)


def test_bad_input_is_refused() -> None:
    with pytest.raises(StepladderError, match="must not be negative"):
        rung_cost(-1, PRICES, 10_000)
    with pytest.raises(StepladderError, match="must be positive"):
        rung_cost(1, PRICES, 0)
