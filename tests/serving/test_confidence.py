"""A confidence sequence covers the mean at every look, and becomes narrow."""

from __future__ import annotations

import random

import pytest

from serving.confidence import ConfidenceSequence

ALPHA = 0.1
RUNS, LENGTH = 150, 600


@pytest.mark.parametrize("mean", [0.02, 0.3, 0.5])
def test_peeking_after_every_value_misses_no_more_often_than_alpha(mean: float) -> None:
    missed = 0
    for seed in range(RUNS):
        rng = random.Random(seed)
        sequence = ConfidenceSequence(0, 1, ALPHA)
        for _ in range(LENGTH):
            sequence.add(float(rng.random() < mean))
            now = sequence.interval()
            if not now.low <= mean <= now.high:
                missed += 1
                break
    assert missed <= ALPHA * RUNS


def test_it_narrows_around_the_mean_in_the_units_of_the_values() -> None:
    rng = random.Random(0)
    sequence = ConfidenceSequence(-2, 2, 0.05)
    assert (sequence.interval().low, sequence.interval().high) == (-2, 2), "nothing is known yet"
    for _ in range(5000):
        sequence.add(rng.choice([-0.5, 0.7]))
    found = sequence.interval()
    assert found.low < 0.1 < found.high
    assert found.high - found.low < 0.2
    assert found.count == 5000
