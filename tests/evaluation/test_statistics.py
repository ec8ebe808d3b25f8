"""Intervals and paired tests: against scipy and statsmodels, by simulation, and on bad input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from stepladder.errors import StepladderError
from stepladder.evaluation.intervals import cluster_bootstrap, score_of
from stepladder.evaluation.pairs import Comparison, pair_of
from stepladder.evaluation.power import cases_for_share, cases_needed
from stepladder.evaluation.resampling import DEFAULT, Resampling, Statistic

QUICK = Resampling(resamples=400)
Score = Callable[[np.ndarray], float]


def _compared(a: ArrayLike, b: ArrayLike, clusters: Sequence[str], how: Resampling = DEFAULT) -> Comparison:
    return pair_of(a, b, clusters, how=how).comparison(how.confidence)


def names(clusters: int, size: int = 1) -> list[str]:
    return [f"page {i // size}" for i in range(clusters * size)]


def clustered_scores(generator: np.random.Generator, clusters: int, size: int, mean: float) -> np.ndarray:
    """Scores of 0 and 1 with an intra-cluster correlation of 1/3 (a beta-binomial)."""
    rates = np.repeat(generator.beta(2 * mean, 2 * (1 - mean), clusters), size)
    return (generator.random(clusters * size) < rates).astype(float)


def test_single_case_clusters_agree_with_scipys_bootstrap() -> None:
    from scipy import stats

    scores = np.random.default_rng(3).beta(2, 1, 300)
    ours = cluster_bootstrap(scores, names(300))
    theirs = stats.bootstrap((scores,), np.mean, method="BCa", rng=0).confidence_interval
    assert ours.estimate == pytest.approx(scores.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_clustered_width_agrees_with_statsmodels_cluster_robust_error() -> None:
    import statsmodels.api as sm

    scores = clustered_scores(np.random.default_rng(1), 150, 6, 0.6)
    groups = np.arange(len(scores)) // 6
    fit = sm.OLS(scores, np.ones(len(scores))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    interval = cluster_bootstrap(scores, names(150, 6))
    assert interval.low is not None
    assert interval.high is not None
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(fit.bse[0], rel=0.06)


def test_bootstrap_covers_the_truth_and_the_naive_interval_does_not() -> None:
    generator = np.random.default_rng(0)
    covered = naive_covered = 0
    for seed in range(300):
        scores = clustered_scores(generator, 25, 8, 0.6)
        how = Resampling(resamples=300, seed=seed)
        ours = cluster_bootstrap(scores, names(25, 8), how=how)
        covered += ours.low <= 0.6 <= ours.high
        reach = 1.96 * np.sqrt(scores.mean() * (1 - scores.mean()) / len(scores))
        naive_covered += abs(scores.mean() - 0.6) <= reach
    assert covered / 300 > 0.92  # three Monte Carlo errors below 0.95
    assert naive_covered / 300 < 0.85


def test_permutation_rejects_at_its_level_when_nothing_differs() -> None:
    generator = np.random.default_rng(0)
    rejected = 0
    for seed in range(300):
        a, b = (clustered_scores(generator, 25, 4, 0.5) for _ in range(2))
        how = Resampling(resamples=200, seed=seed)
        rejected += _compared(a, b, names(25, 4), how=how).p <= 0.05
    assert rejected / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_micro_f1_is_of_the_sums_not_the_mean_of_the_cases() -> None:
    counts = [(3, 0, 1), (1, 2, 0), (0, 0, 0), (2, 1, 1)]
    interval = cluster_bootstrap(counts, names(4), "micro-f1", QUICK)
    assert interval.estimate == pytest.approx(2 * 6 / (2 * 6 + 3 + 2))


def test_micro_f1_agrees_with_a_loop_that_resamples_by_hand() -> None:
    generator = np.random.default_rng(5)
    counts = generator.integers(0, 4, size=(120, 3)).astype(float)
    groups = np.arange(120) // 3
    replicates = []
    for _ in range(3000):
        drawn = generator.integers(40, size=40)
        tp, fp, fn = np.concatenate([counts[groups == g] for g in drawn]).sum(axis=0)
        replicates.append(2 * tp / (2 * tp + fp + fn))
    interval = cluster_bootstrap(counts, names(40, 3), "micro-f1")
    by_hand = np.quantile(replicates, [0.025, 0.975])
    assert (interval.low, interval.high) == pytest.approx(tuple(by_hand), abs=0.008)


def test_sign_flip_on_few_clusters_is_exact_and_agrees_with_scipy() -> None:
    from scipy import stats

    generator = np.random.default_rng(2)
    a, b = generator.random(10), generator.random(10)
    ours = _compared(a, b, names(10), how=Resampling(resamples=2000))
    theirs = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
    )
    assert ours.test == "exact cluster sign-flip permutation"
    assert ours.p == pytest.approx(theirs.pvalue)


def every_swap(a: np.ndarray, b: np.ndarray, clusters: Sequence[str], score: Score) -> tuple[float, float]:
    """One-sided p-values by a plain loop: cases are copied and swapped, and the scores computed anew."""
    groups = [[i for i, one in enumerate(clusters) if one == name] for name in dict.fromkeys(clusters)]
    observed, found = score(a) - score(b), []
    for swaps in itertools.product((False, True), repeat=len(groups)):
        left, right = a.copy(), b.copy()
        for group in itertools.compress(groups, swaps):
            left[group], right[group] = b[group], a[group]
        found.append(score(left) - score(right))
    above = sum(one >= observed - 1e-12 for one in found) / len(found)
    return above, sum(one <= observed + 1e-12 for one in found) / len(found)


def micro_f1(counts: np.ndarray) -> float:
    tp, fp, fn = (sum(float(row[i]) for row in counts) for i in range(3))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("statistic", ["mean", "binary mean", "micro-f1"])
def test_swaps_of_whole_clusters_agree_with_a_loop_over_all_of_them(statistic: str, size: int) -> None:
    """2 ** 10 swaps; cases are shuffled, and clusters lose a case or two."""
    generator = np.random.default_rng(6)
    clusters = [str(name) for name in generator.permutation(names(10, size))][: 10 * size - size // 2]
    cases = len(clusters)
    if statistic == "micro-f1":
        a, b = (generator.integers(0, 4, size=(cases, 3)).astype(float) for _ in range(2))
        a[:, 0] += generator.integers(0, 2, size=cases)
        found = pair_of(a, b, clusters, "micro-f1", Resampling(resamples=2000))
        above, below = every_swap(a, b, clusters, micro_f1)
    else:
        a, b = generator.random(cases), generator.random(cases) * 0.8
        if statistic == "binary mean":
            a, b = (a > 0.3).astype(float), (b > 0.3).astype(float)
        found = pair_of(a, b, clusters, "mean", Resampling(resamples=2000))
        above, below = every_swap(a, b, clusters, lambda scores: float(scores.mean()))
    if found.test != "exact McNemar":
        assert found.test == "exact cluster sign-flip permutation"
    assert 0.01 < above < 0.9, "a case that tells something"
    assert (found.p_better, found.p_worse) == pytest.approx((above, below))


def test_swaps_of_clusters_of_several_cases_agree_with_scipy_on_their_sums() -> None:
    from scipy import stats

    generator = np.random.default_rng(8)
    a, b = generator.random(30), generator.random(30) * 0.9
    sums = [side.reshape(10, 3).sum(axis=1) for side in (a, b)]
    theirs = stats.permutation_test(
        sums, lambda x, y, axis: np.sum(x - y, axis=axis), permutation_type="samples", vectorized=True
    )
    ours = _compared(a, b, names(10, 3), how=Resampling(resamples=2000))
    assert ours.test == "exact cluster sign-flip permutation"
    assert ours.p == pytest.approx(theirs.pvalue)


def test_sign_flip_on_binary_scores_agrees_with_exact_mcnemar() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    a = np.array([1.0] * 40 + [0.0] * 12 + [1.0] * 30 + [0.0] * 18)
    b = np.array([0.0] * 40 + [1.0] * 12 + [1.0] * 30 + [0.0] * 18)
    ours = _compared(a[26:], b[26:], names(74))
    theirs = mcnemar([[30, 14], [12, 18]], exact=True)
    assert ours.test == "exact McNemar"
    assert ours.p == pytest.approx(theirs.pvalue)


def test_all_right_leaves_room_for_doubt() -> None:
    interval = cluster_bootstrap(np.ones(60), names(20, 3), how=QUICK)
    assert interval.method == "exact: no cluster differs"
    assert interval.high == pytest.approx(1)
    assert interval.low == pytest.approx(0.025 ** (1 / 20))


def test_three_tied_cases_do_not_prove_equality() -> None:
    compared = _compared([1, 0, 1], [1, 0, 1], names(3), how=QUICK)
    assert (compared.difference, compared.p) == (0, 1)
    assert compared.interval.high > 0.4


def test_one_cluster_has_no_interval() -> None:
    interval = cluster_bootstrap([0.0, 1.0, 1.0], ["page"] * 3, how=QUICK)
    assert (interval.low, interval.high) == (None, None)
    assert "one cluster" in interval.method
    assert score_of([0.0, 1.0], ["page"] * 2, how=QUICK).lower(0.05) is None
    assert _compared([1.0, 1.0], [0.0, 1.0], ["page"] * 2, how=QUICK).interval.low is None


def test_a_lower_bound_is_the_end_of_the_two_sided_interval_at_twice_the_tail() -> None:
    scores = np.random.default_rng(0).random(80)
    two_sided = cluster_bootstrap(scores, names(80), how=Resampling(resamples=500, confidence=0.90))
    assert score_of(scores, names(80), how=Resampling(resamples=500)).lower(0.05) == two_sided.low


@pytest.mark.parametrize(
    ("values", "clusters", "statistic", "words"),
    [
        ([], [], "mean", "no cases"),
        ([1.0], ["a", "b"], "mean", "1 values for 2 cases"),
        ([1.0, 2.0], ["a", "b"], "mean", r"\[0, 1\]"),
        ([1.0, float("nan")], ["a", "b"], "mean", r"\[0, 1\]"),
        ([1.0, 0.0], ["a", "b"], "micro-f1", "do not fit"),
    ],
)
def test_bad_input_is_refused_in_plain_words(
    values: list[float], clusters: list[str], statistic: Statistic, words: str
) -> None:
    with pytest.raises(StepladderError, match=words):
        cluster_bootstrap(values, clusters, statistic)


@pytest.mark.parametrize(("difference", "discordance", "cases"), [(0.05, 0.2, 489), (0.1, 0.2, 118)])
def test_cases_needed_at_a_known_discordance(difference: float, discordance: float, cases: int) -> None:
    """By hand, for a power of 80% at 5%: (1.64485 + 0.84162)^2 (discordance - difference^2) / difference^2.

    Lachin, 1992, "Power and sample size evaluation for the McNemar test", with the variance of the
    alternative in both places.
    """
    assert cases_needed(difference, discordance=discordance) == cases


def test_cases_needed_agrees_with_statsmodels() -> None:
    from statsmodels.stats.power import normal_sample_size_one_tail

    for difference, sd in [(0.05, 0.4), (0.1, 0.3), (0.02, 0.5)]:
        theirs = normal_sample_size_one_tail(difference, 0.8, 0.05, sd)
        assert cases_needed(difference, sd=sd) == np.ceil(theirs)


def test_cases_needed_refuses_what_cannot_be_answered() -> None:
    with pytest.raises(StepladderError, match="difference of zero"):
        cases_needed(0, sd=0.3)
    with pytest.raises(StepladderError, match="either sd or discordance"):
        cases_needed(0.1)
    with pytest.raises(StepladderError, match="discordance of at least"):
        cases_needed(0.5, discordance=0.1)


scores_in_clusters = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from("abcdef")), min_size=2, max_size=30
)


@given(scores_in_clusters)
@hypothesis_settings(max_examples=40, deadline=None)
def test_swapping_the_sides_mirrors_the_comparison(rows: list[tuple[float, float, str]]) -> None:
    a, b, clusters = zip(*rows, strict=True)
    there = _compared(a, b, clusters, how=QUICK)
    back = _compared(b, a, clusters, how=QUICK)
    assert back.difference == pytest.approx(-there.difference)
    assert back.p == pytest.approx(there.p)
    if there.interval.low is not None and abs(there.difference) > 1e-9:  # a tie has no better side
        mirrored = (-there.interval.high, -there.interval.low)
        assert (back.interval.low, back.interval.high) == pytest.approx(mirrored, abs=1e-9)


@given(scores_in_clusters, st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=40, deadline=None)
def test_neither_the_order_of_cases_nor_a_second_call_changes_the_interval(
    rows: list[tuple[float, float, str]], random: Random
) -> None:
    shuffled = random.sample(rows, len(rows))
    one = cluster_bootstrap([r[0] for r in rows], [r[2] for r in rows], how=QUICK)
    other = cluster_bootstrap([r[0] for r in shuffled], [r[2] for r in shuffled], how=QUICK)
    assert other.estimate == pytest.approx(one.estimate)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-9)


@given(scores_in_clusters)
@hypothesis_settings(max_examples=40, deadline=None)
def test_the_interval_holds_within_the_scale_and_its_ends_are_ordered(
    rows: list[tuple[float, float, str]],
) -> None:
    interval = cluster_bootstrap([r[0] for r in rows], [r[2] for r in rows], how=QUICK)
    if interval.low is not None:
        assert -1e-9 <= interval.low <= interval.high <= 1 + 1e-9


@pytest.mark.parametrize(("share", "limit"), [(0.8, 0.7), (0.75, 0.7), (0.6, 0.7), (0.97, 0.9)])
def test_cases_for_a_share_give_the_exact_test_its_power(share: float, limit: float) -> None:
    """The power of the exact binomial test, summed: at least as planned, and not much more."""
    from scipy import stats

    cases = cases_for_share(share, limit, power=0.8, alpha=0.05)
    counts = np.arange(cases + 1)
    side = "greater" if share > limit else "less"
    rejected = [stats.binomtest(int(k), cases, limit, alternative=side).pvalue <= 0.05 for k in counts]
    assert 0.77 < stats.binom.pmf(counts, cases, share)[rejected].sum() < 0.86


def test_a_share_cannot_be_told_from_itself() -> None:
    with pytest.raises(StepladderError, match="from itself"):
        cases_for_share(0.7, 0.7, power=0.8, alpha=0.05)
