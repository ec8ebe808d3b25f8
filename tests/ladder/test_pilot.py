"""Slices spend the pilot's tokens, and their answers become one prediction in the statistic of the bar."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stepladder.evaluation.records import RungOutcomes
from stepladder.ladder.pilot import largest_slice, predict, slice_budgets

Ladder = Callable[..., dict[str, RungOutcomes]]


def test_slices_double_and_spend_no_more_than_there_is() -> None:
    assert slice_budgets(largest_slice(70_000)) == [10_000, 20_000, 40_000]


@pytest.mark.parametrize("counted", [False, True])
def test_a_rising_curve_is_carried_on(ladder: Ladder, counted: bool) -> None:
    slices = [ladder({"lora": score}, counted=counted)["lora"] for score in (0.3, 0.5, 0.65)]
    found = predict([10_000, 20_000, 40_000], slices, 200_000, 0.95)
    assert found.score > found.points[-1].score
    assert found.low <= found.score <= found.high
    assert [point.tokens for point in found.points] == [10_000, 20_000, 40_000]
    assert predict([10_000, 20_000, 40_000], slices, 200_000, 0.95) == found
