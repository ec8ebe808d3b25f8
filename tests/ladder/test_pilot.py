"""Slices spend the pilot's tokens, and their answers become one prediction in the statistic of the bar."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stepladder.evaluation.records import RungOutcomes
from stepladder.ladder.pilot import largest_slice, predict, slice_budgets

Ladder = Callable[..., dict[str, RungOutcomes]]


def test_slices_double_and_spend_no_more_than_there_is() -> None:
    assert slice_budgets(largest_slice(70_000)) == [10_000, 20_000, 40_000]


def test_a_pilot_without_one_right_row_is_not_certain_of_it(ladder: Ladder) -> None:
    none = ladder({"lora": 0.0}, clusters=24, size=1)["lora"]
    found = predict([10_000, 20_000, 40_000], [none] * 3, 200_000, 0.95)
    assert (found.score, found.low) == (0, 0)
    assert found.high > 0.05, "24 rows can hide as much"
    many = ladder({"lora": 0.0}, clusters=2400, size=1)["lora"]
    assert predict([10_000, 20_000, 40_000], [many] * 3, 200_000, 0.95).high < found.high / 10


@pytest.mark.parametrize("counted", [False, True])
def test_a_rising_curve_is_carried_on(ladder: Ladder, counted: bool) -> None:
    slices = [ladder({"lora": score}, counted=counted)["lora"] for score in (0.3, 0.5, 0.65)]
    found = predict([10_000, 20_000, 40_000], slices, 200_000, 0.95)
    assert found.score > found.points[-1].score
    assert found.low <= found.score <= found.high
    assert [point.tokens for point in found.points] == [10_000, 20_000, 40_000]
    assert predict([10_000, 20_000, 40_000], slices, 200_000, 0.95) == found
