"""Scores corrected for a judge's errors: the published formula, coverage by simulation, and naive scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from stepladder.evaluation.intervals import score_of
from stepladder.evaluation.judged import Corrected, CorrectedDifference
from stepladder.evaluation.pairs import pair_of
from stepladder.evaluation.proportions import Proportion
from stepladder.evaluation.resampling import JudgeErrors, Resampling
from stepladder.evaluation.tango import Discordance, discordance_of

ERRORS = JudgeErrors(sensitivity=0.9, right=100, specificity=0.8, wrong=60)


def corrected(share: float, cases: int, errors: JudgeErrors = ERRORS) -> Corrected:
    return Corrected(Proportion(share, cases, cases, float(cases)), errors)


def lang_reiczigel(k: int, n: int, k_se: int, n_se: int, k_sp: int, n_sp: int) -> tuple[float, float]:
    """The paper's formulas in one go, at 95%."""
    z = stats.norm.isf(0.025)
    p, se, sp = (k + z**2 / 2) / (n + z**2), (k_se + 1) / (n_se + 2), (k_sp + 1) / (n_sp + 2)
    prevalence = (p + sp - 1) / (se + sp - 1)
    v_se, v_sp = se * (1 - se) / (n_se + 2), sp * (1 - sp) / (n_sp + 2)
    spread = math.sqrt(p * (1 - p) / (n + z**2) + prevalence**2 * v_se + (1 - prevalence) ** 2 * v_sp)
    shift = 2 * z**2 * (prevalence * v_se - (1 - prevalence) * v_sp)
    reach = z * spread / (se + sp - 1)
    return max(0.0, prevalence + shift - reach), min(1.0, prevalence + shift + reach)


@pytest.mark.parametrize(("right", "cases"), [(120, 160), (40, 160), (130, 160), (12, 50)])
def test_the_interval_is_that_of_lang_and_reiczigel(right: int, cases: int) -> None:
    interval = corrected(right / cases, cases).interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(lang_reiczigel(right, cases, 90, 100, 48, 60))
    assert interval.estimate == pytest.approx(min(1, max(0, (right / cases - 0.2) / 0.7)))


def test_the_p_value_is_the_tail_whose_bound_is_the_limit() -> None:
    for share in (0.75, 0.4, 0.5):
        one = corrected(share, 160)
        for tail in (0.05, 0.01, 0.001):
            assert one.p_at_most(one.lower(tail)) == pytest.approx(tail, rel=1e-6)
            assert one.p_at_least(1 - one.mirrored().lower(tail)) == pytest.approx(tail, rel=1e-6)
    assert corrected(0.75, 160).p_at_most(0.99) == 1.0


def test_more_labels_and_more_cases_both_narrow_it() -> None:
    def width(cases: int, labels: float) -> float:
        errors = JudgeErrors(sensitivity=0.9, right=labels, specificity=0.8, wrong=labels)
        interval = corrected(0.7, cases, errors).interval(0.95)
        return interval.high - interval.low

    assert width(100, 50) > width(1000, 50) > width(1000, 5000) > 0
    assert width(10**6, 50) > 0.1, "cases without end do not make up for few labels"


def test_the_error_is_that_of_the_cases_and_a_floor_that_the_labels_set() -> None:
    """Their sum is half the width at one standard error; the floor is what cases without end leave."""
    for cases in (50, 160, 10**9):
        one = corrected(0.7, cases)
        assert one.sd**2 / cases + one.fixed == pytest.approx(one._half(1.0) ** 2)
    assert one.fixed == pytest.approx(one._half(1.0) ** 2, rel=1e-6)
    rng = np.random.default_rng(5)
    sensitivity, specificity = rng.binomial(100, 0.9, 20000) / 100, rng.binomial(60, 0.8, 20000) / 60
    simulated = ((0.7 + specificity - 1) / (sensitivity + specificity - 1)).std()
    assert math.sqrt(one.fixed) == pytest.approx(simulated, rel=0.05)
    pair = CorrectedDifference(Discordance(30, 10, 100, math.inf, 0.6), ERRORS)
    simulated = (0.1 * 0.7 / (sensitivity + specificity - 1)).std()
    assert math.sqrt(pair.fixed_at(0.1)) == pytest.approx(simulated, rel=0.1)
    assert pair.fixed_at(0) == 0


@pytest.mark.parametrize("truth", [0.05, 0.5, 0.85, 0.97])
@pytest.mark.parametrize("cases", [50, 200, 1000])
def test_it_covers_the_truth_where_uncorrected_scores_do_not(truth: float, cases: int) -> None:
    """2,000 draws of cases and of labels: 100 that people call right, 60 that they call wrong."""
    generator = np.random.default_rng([cases, int(100 * truth)])
    called_share = truth * 0.9 + (1 - truth) * 0.2
    covered = naive = bounded = 0
    for right, k_se, k_sp in zip(
        generator.binomial(cases, called_share, 2000),
        generator.binomial(100, 0.9, 2000),
        generator.binomial(60, 0.8, 2000),
        strict=True,
    ):
        errors = JudgeErrors(sensitivity=k_se / 100, right=100, specificity=k_sp / 60, wrong=60)
        one = corrected(right / cases, cases, errors)
        interval = one.interval(0.95)
        covered += interval.low <= truth <= interval.high
        bounded += one.lower(0.05) <= truth
        alone = one.called.interval(0.95)
        naive += alone.low <= truth <= alone.high
    error = math.sqrt(0.95 * 0.05 / 2000)
    assert covered / 2000 > 0.95 - 4 * error
    assert bounded / 2000 > 0.95 - 4 * error, "the side that the bar looks at"
    if abs(called_share - truth) > 0.05 and cases >= 200:
        assert naive / 2000 < 0.9


@pytest.mark.parametrize("truth", [0.0, 0.05, 0.1])
def test_a_difference_at_the_margin_is_claimed_smaller_as_often_as_allowed(truth: float) -> None:
    """2,000 draws of 200 cases; the dearer side is better by ``truth``, the judge errs on each by itself."""
    generator = np.random.default_rng(int(100 * truth))
    draws, cases = 2000, 200
    first = generator.random((draws, cases)) < 0.7 + truth
    second = np.where(first, generator.random((draws, cases)) < 0.7 / (0.7 + truth) * 0.9, False)
    second |= ~first & (generator.random((draws, cases)) < 0.7 * 0.1 / (0.3 - truth))
    called = [np.where(side, generator.random((draws, cases)) < 0.9, generator.random((draws, cases)) < 0.2)
              for side in (first, second)]  # fmt: skip
    only = [(called[0] & ~called[1]).sum(axis=1), (called[1] & ~called[0]).sum(axis=1)]
    labels = zip(generator.binomial(100, 0.9, draws), generator.binomial(60, 0.8, draws), strict=True)
    smaller = covered = 0
    for b, c, (k_se, k_sp) in zip(*only, labels, strict=True):
        errors = JudgeErrors(sensitivity=k_se / 100, right=100, specificity=k_sp / 60, wrong=60)
        difference = (b - c) / cases
        sd = math.sqrt((b + c) / cases - difference**2)
        one = CorrectedDifference(Discordance(float(b), float(c), float(cases), math.inf, sd), errors)
        smaller += one.p_at_least(truth) <= 0.05
        covered += one.p_at_most(truth) > 0.025 and one.p_at_least(truth) > 0.025
    error = math.sqrt(0.05 * 0.95 / draws)
    assert smaller / draws < 0.05 + 4 * error
    assert covered / draws > 0.95 - 4 * error


def test_the_interval_of_a_difference_holds_what_is_not_rejected_and_mirrors() -> None:
    a = np.array([1.0] * 30 + [0.0] * 10 + [1.0] * 60)
    b = np.array([0.0] * 30 + [1.0] * 10 + [1.0] * 60)
    one = CorrectedDifference(discordance_of(a, b, [str(i) for i in range(100)]), ERRORS)
    interval = one.interval(0.95)
    assert interval.estimate == pytest.approx(0.2 / 0.7)
    assert one.p_at_most(interval.low) == pytest.approx(0.025, rel=1e-4)
    assert one.p_at_least(interval.high) == pytest.approx(0.025, rel=1e-4)
    back = one.mirrored().interval(0.95)
    assert (back.low, back.high) == pytest.approx((-interval.high, -interval.low), abs=1e-6)


def test_scores_and_pairs_are_corrected_where_a_judge_gave_them_and_better_is_not() -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.random(200) < share for share in (0.8, 0.6))
    names = [str(i) for i in range(200)]
    judged = Resampling(errors=ERRORS)
    assert score_of(a, names, how=judged).estimate == pytest.approx((a.mean() - 0.2) / 0.7)
    plain, corrected_pair = pair_of(a, b, names), pair_of(a, b, names, how=judged)
    assert corrected_pair.difference == pytest.approx(plain.difference / 0.7)
    assert corrected_pair.p_better == plain.p_better
    assert corrected_pair.p_shown_below(0.3) > plain.p_shown_below(0.3)


def test_a_perfect_judge_with_labels_without_end_changes_nothing() -> None:
    sure = JudgeErrors(sensitivity=1, right=1e9, specificity=1, wrong=1e9)
    low, high = stats.binomtest(120, 160).proportion_ci(method="wilson")
    interval = corrected(0.75, 160, sure).interval(0.95)  # Agresti and Coull's: Wilson's, hardly wider
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.002)
