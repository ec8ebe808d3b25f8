"""Paired differences: their intervals cover the truth as often as they say, and not always."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import special

from stepladder.evaluation.intervals import score_of
from stepladder.evaluation.pairs import pair_of
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.resampling import Resampling, Statistic

QUICK = Resampling(resamples=400)
SIZE = 5  # cases in a cluster


def uniforms(generator: np.random.Generator, cases: int, sizes: Sequence[int] = ()) -> np.ndarray:
    """Two sides, shape (cases, 2), with the correlation 1/2; half of either's variance is its cluster's.

    ``sizes``: of the clusters, ``SIZE`` each if empty.
    """
    each = sizes or [SIZE] * (cases // SIZE)
    within = np.repeat(generator.standard_normal((len(each), 3)), each, axis=0)
    drawn = (within + generator.standard_normal((cases, 3))) / np.sqrt(2)
    return special.ndtr((drawn[:, :1] + drawn[:, 1:]) / np.sqrt(2))


def binary(_: np.random.Generator, uniform: np.ndarray, mean: float) -> np.ndarray:
    return (uniform < mean).astype(float)


def partial(_: np.random.Generator, uniform: np.ndarray, mean: float) -> np.ndarray:
    """A power of a uniform: its mean is 1 / (power + 1)."""
    return uniform ** (1 / mean - 1)


def counts(generator: np.random.Generator, uniform: np.ndarray, f1: float) -> np.ndarray:
    """(tp, fp, fn) of reviews with two issues each, whose micro F1 is in truth ``f1``."""
    found = partial(generator, uniform, f1)
    tp, fp = generator.binomial(2, found), generator.binomial(2, 1 - found)
    return np.column_stack([tp, fp, 2 - tp]).astype(float)


Side = Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
FALLS_SHORT = {
    (partial, 50, (0.98, 0.96)): 0.93,
    (partial, 50, (0.05, 0.03)): 0.87,
    (partial, 200, (0.05, 0.03)): 0.91,
    (counts, 200, (0.05, 0.03)): 0.92,
    (counts, 50, (0.98, 0.96)): 0.94,
}


def assert_covers(
    cases: int,
    draw: Callable[[np.random.Generator], Interval],
    truth: float,
    least: float = 0.95,
    most: float = 0.98,
) -> None:
    """As often as it says, within the error of the draws, which are fewer where each is dear; and not much
    more often: an interval that always covers says nothing."""
    generator, draws = np.random.default_rng(cases), 400 if cases > 500 else 1000
    found = [draw(generator) for _ in range(draws)]
    share = float(np.mean([one.low <= truth <= one.high for one in found]))
    error = np.sqrt(0.95 * 0.05 / draws)
    assert least - 3 * error <= share <= most + 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("cases", [50, 200, 1000])
@pytest.mark.parametrize(
    ("side", "statistic"),
    [(binary, "mean"), (partial, "mean"), (counts, "micro-f1")],
    ids=["Tango with a design effect", "paired bootstrap-t", "micro F1"],
)
def test_intervals_of_a_difference_cover_it(cases: int, side: Side, statistic: Statistic) -> None:
    clusters = [f"page {i // SIZE}" for i in range(cases)]

    def draw(generator: np.random.Generator) -> Interval:
        both = uniforms(generator, cases)
        sides = (side(generator, both[:, i], mean) for i, mean in enumerate((0.9, 0.8)))
        return pair_of(*sides, clusters, statistic, QUICK).comparison(0.95).interval

    assert_covers(cases, draw, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("means", [(0.98, 0.96), (0.05, 0.03)], ids=["near 1", "near 0"])
@pytest.mark.parametrize("cases", [50, 200, 1000])
@pytest.mark.parametrize(
    ("side", "statistic"),
    [(binary, "mean"), (partial, "mean"), (counts, "micro-f1")],
    ids=["Tango with a design effect", "paired bootstrap-t", "micro F1"],
)
def test_intervals_of_a_difference_near_the_ends_of_the_scale(
    cases: int, side: Side, statistic: Statistic, means: tuple[float, float]
) -> None:
    """``FALLS_SHORT`` is what they reach where that is less than what they say (docs/05): few cases make the
    whole score there, and a bootstrap has little to go by. Ten clusters of counts are covered too often."""
    clusters = [f"page {i // SIZE}" for i in range(cases)]

    def draw(generator: np.random.Generator) -> Interval:
        both = uniforms(generator, cases)
        sides = (side(generator, both[:, i], mean) for i, mean in enumerate(means))
        return pair_of(*sides, clusters, statistic, QUICK).comparison(0.95).interval

    least = FALLS_SHORT.get((side, cases, means), 0.95)
    assert_covers(cases, draw, means[0] - means[1], least, most=0.98 if cases > 50 else 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "statistic"),
    [(binary, "mean"), (partial, "mean"), (counts, "micro-f1")],
    ids=["Tango with a design effect", "paired bootstrap-t", "micro F1"],
)
def test_intervals_of_a_difference_cover_it_where_clusters_are_of_unequal_size(
    side: Side, statistic: Statistic
) -> None:
    sizes = range(1, 21)
    clusters = [str(i) for i, size in enumerate(sizes) for _ in range(size)]

    def draw(generator: np.random.Generator) -> Interval:
        both = uniforms(generator, len(clusters), sizes)
        sides = (side(generator, both[:, i], mean) for i, mean in enumerate((0.9, 0.8)))
        return pair_of(*sides, clusters, statistic, QUICK).comparison(0.95).interval

    assert_covers(len(clusters), draw, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("f1", [0.05, 0.8, 0.95])
@pytest.mark.parametrize("cases", [50, 200, 1000])
def test_intervals_of_micro_f1_cover_it(cases: int, f1: float) -> None:
    clusters = [f"page {i // SIZE}" for i in range(cases)]

    def draw(generator: np.random.Generator) -> Interval:
        reviews = counts(generator, uniforms(generator, cases)[:, 0], f1)
        return score_of(reviews, clusters, "micro-f1", QUICK).interval(0.95)

    assert_covers(cases, draw, f1, most=0.98 if cases > 50 else 1.0)
