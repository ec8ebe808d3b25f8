"""The curve is found again where there is one, and its interval says how little few points tell."""

from __future__ import annotations

import numpy as np
import pytest

from stepladder.errors import StepladderError
from stepladder.tuning import curve
from stepladder.tuning.curve import extrapolate, resampled_clusters

TOKENS = [10_000, 20_000, 40_000]


def power_law(tokens: float, a: float = 0.1, b: float = 0.6, c: float = 0.5) -> float:
    return 1 - (a + b * (tokens / 10_000) ** -c)


def test_a_power_law_without_noise_is_found() -> None:
    scores = np.array([power_law(n) for n in TOKENS])
    found = extrapolate(TOKENS, scores, np.array([scores] * 5), 200_000, 0.95)
    assert found.score == pytest.approx(power_law(200_000), abs=0.005)
    assert found.low == found.high == found.score


def test_the_closed_form_fit_agrees_with_scipys_non_negative_least_squares() -> None:
    from scipy import optimize

    generator = np.random.default_rng(5)
    x = np.array([np.array([1.0, 2.0, 4.0, 8.0]) ** -c for c in (0.1, 0.5, 1.0)])
    y = np.vstack([generator.random((40, 4)), generator.random((20, 1)) + 0.2 * x[1]])
    a, b, errors = curve._non_negative_lines(x, y)
    bound = 0
    for row, wanted in enumerate(y):
        for place, exponent in enumerate(x):
            found, misfit = optimize.nnls(np.column_stack([np.ones(4), exponent]), wanted)
            assert (a[row, place], b[row, place]) == pytest.approx(tuple(found), abs=1e-9)
            assert errors[row, place] == pytest.approx(misfit**2, abs=1e-9)
            bound += (found == 0).any()
    assert 20 < bound < 160, "some are held at zero, and some are not"


def test_a_flat_curve_stays_flat_and_a_falling_one_does_not_rise() -> None:
    for scores in (np.array([0.4, 0.4, 0.4]), np.array([0.5, 0.4, 0.3])):
        found = extrapolate(TOKENS, scores, np.array([scores]), 10**7, 0.95)
        assert found.score == pytest.approx(0.4, abs=1e-3)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Many pilots with 200 dev rows each, against the score that the true curve reaches."""
    generator = np.random.default_rng(0)
    truth, held = power_law(160_000), 0
    chances = np.array([power_law(n) for n in TOKENS])
    for _ in range(30):
        rows = generator.random((200, 1)) < chances  # one difficulty a row, as answers are correlated
        draws = generator.integers(200, size=(60, 200))
        found = extrapolate(TOKENS, rows.mean(axis=0), rows[draws].mean(axis=1), 160_000, 0.9)
        held += found.low <= truth <= found.high
    assert held >= 24  # of 30 at 90%: fewer than 24 has a chance of 3%


def test_the_further_the_wider() -> None:
    generator = np.random.default_rng(1)
    chances = np.array([power_law(n) for n in TOKENS])
    replicates = (generator.random((50, 40, 1)) < chances).mean(axis=1)
    near, far = (extrapolate(TOKENS, chances, replicates, n, 0.9) for n in (50_000, 5_000_000))
    assert far.high - far.low > near.high - near.low


@pytest.mark.parametrize("tokens", [[10, 20], [0, 10, 20], [10, 20, 20]])
def test_slices_that_make_no_curve_is_refused(tokens: list[int]) -> None:
    scores = np.full(len(tokens), 0.5)
    with pytest.raises(StepladderError, match="three slices"):
        extrapolate(tokens, scores, scores[None], 100, 0.95)


def test_clusters_are_drawn_whole() -> None:
    draws = resampled_clusters(["a", "a", "b", "c"], seed=0)
    assert len(draws) == curve._REPLICATES
    for rows in draws[:50]:
        assert rows.count(0) == rows.count(1)
        assert len(rows) == 3 + rows.count(0)
