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


def assert_covers(cases: int, draw: Callable[[np.random.Generator], Interval], truth: float) -> None:
    """As often as it says, within the error of the draws, which are fewer where each is dear; and not much
    more often: an interval that always covers says nothing."""
    generator, draws = np.random.default_rng(cases), 400 if cases > 500 else 1000
    found = [draw(generator) for _ in range(draws)]
    share = float(np.mean([one.low <= truth <= one.high for one in found]))
    error = np.sqrt(0.95 * 0.05 / draws)
    assert 0.95 - 3 * error <= share <= 0.98 + 3 * error


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
@pytest.mark.parametrize("cases", [50, 200, 1000])
def test_intervals_of_micro_f1_cover_it(cases: int) -> None:
    clusters = [f"page {i // SIZE}" for i in range(cases)]

    def draw(generator: np.random.Generator) -> Interval:
        reviews = counts(generator, uniforms(generator, cases)[:, 0], 0.8)
        return score_of(reviews, clusters, "micro-f1", QUICK).interval(0.95)

    assert_covers(cases, draw, 0.8)
