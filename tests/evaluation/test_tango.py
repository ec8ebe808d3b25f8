"""Paired scores of 0 and 1: against a numerical likelihood, exact sums, statsmodels and Wilson."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from stepladder.evaluation.tango import Discordance, discordance_of, mcnemar


def alone(only_first: int, only_second: int, cases: int) -> Discordance:
    a = np.array([1.0] * only_first + [0.0] * only_second + [1.0] * (cases - only_first - only_second))
    b = np.array([0.0] * only_first + [1.0] * only_second + [1.0] * (cases - only_first - only_second))
    return discordance_of(a, b, [str(i) for i in range(cases)])


def score_statistic_by_numerical_likelihood(b: int, c: int, n: int, limit: float) -> float:
    """The constrained likelihood maximised by scipy, with none of Tango's algebra."""

    def loss(p21: float) -> float:
        p12 = p21 + limit
        rest = 1 - p12 - p21
        if min(p12, p21, rest) <= 0:
            return 1e9
        return -(b * math.log(p12) + c * math.log(p21) + (n - b - c) * math.log(rest))

    low, high = max(0.0, -limit), (1 - limit) / 2
    best = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (b - c - n * limit) / math.sqrt(n * (2 * best + limit - limit**2))


@pytest.mark.parametrize(("b", "c", "n"), [(9, 3, 32), (20, 10, 100), (1, 4, 60), (30, 2, 200)])
@pytest.mark.parametrize("limit", [-0.2, -0.03, 0.05, 0.3])
def test_the_statistic_is_the_score_test_of_the_likelihood(b: int, c: int, n: int, limit: float) -> None:
    ours = alone(b, c, n).statistic(limit)
    assert ours == pytest.approx(score_statistic_by_numerical_likelihood(b, c, n, limit), abs=1e-4)


def test_at_zero_it_is_mcnemars_statistic() -> None:
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    found = theirs([[50, 20], [8, 22]], exact=False, correction=False)
    assert alone(20, 8, 100).statistic(0) ** 2 == pytest.approx(found.statistic)


def test_the_interval_holds_what_the_test_does_not_reject() -> None:
    interval = alone(20, 8, 100).interval(0.95)
    for end, sign in ((interval.low, 1), (interval.high, -1)):
        assert alone(20, 8, 100).statistic(end) == pytest.approx(sign * stats.norm.isf(0.025), abs=1e-6)
    assert interval.estimate == pytest.approx(0.12)


def test_where_no_case_differs_it_reaches_as_far_as_wilson() -> None:
    from statsmodels.stats.proportion import proportion_confint

    interval = alone(0, 0, 40).interval(0.95)
    reach = proportion_confint(0, 40, 0.05, method="wilson")[1]
    assert (interval.low, interval.high) == pytest.approx((-reach, reach), abs=1e-6)


@pytest.mark.parametrize("truth", [(0.02, 0.02), (0.15, 0.05), (0.10, 0.10)])
@pytest.mark.parametrize("cases", [50, 200])
def test_no_worse_by_a_margin_is_claimed_wrongly_as_often_as_allowed(
    truth: tuple[float, float], cases: int
) -> None:
    """At the margin itself, every pair of counts weighed by its multinomial probability: no simulation."""
    first, second = truth
    limit = first - second
    counts = [(b, c, cases - b - c) for b in range(cases + 1) for c in range(cases + 1 - b)]
    chances = stats.multinomial.pmf(np.array(counts), cases, [first, second, 1 - first - second])
    rejected = 0.0
    for (b, c, _), chance in zip(counts, chances, strict=True):
        if chance > 1e-7 and Discordance(b, c, cases, math.inf, 0.0).p_at_least(limit) <= 0.05:
            rejected += chance
    assert rejected < 0.065  # an approximate test: near its level, not below it throughout


def test_exact_mcnemar_agrees_with_scipys_binomial_test() -> None:
    a = np.array([1.0] * 14 + [0.0] * 5 + [1.0] * 30)
    b = np.array([0.0] * 14 + [1.0] * 5 + [1.0] * 30)
    better, worse = mcnemar(a, b)
    assert better == pytest.approx(stats.binomtest(14, 19, alternative="greater").pvalue)
    assert worse == pytest.approx(stats.binomtest(14, 19, alternative="less").pvalue)
    assert mcnemar(a, a) == (1, 1)


def test_twins_in_a_cluster_count_once() -> None:
    a = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0] * 10, 3)
    b = np.repeat([0.0, 0.0, 1.0, 1.0, 1.0, 1.0] * 10, 3)
    counted = discordance_of(a, b, [str(i // 3) for i in range(180)])
    assert counted.cases == pytest.approx(60, rel=0.03)
    assert counted.degrees == 59
