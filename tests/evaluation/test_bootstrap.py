"""The studentised bootstrap: its scale, its tails, and what it does where there is little to draw from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stepladder.evaluation.bootstrap import Bootstrapped
from stepladder.evaluation.intervals import score_of
from stepladder.evaluation.pairs import pair_of
from stepladder.evaluation.resampling import Resampling


def names(clusters: int, size: int = 1) -> list[str]:
    return [f"page {i // size}" for i in range(clusters * size)]


def test_it_agrees_with_a_loop_that_studentises_by_hand() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random(60) ** 0.2
    mean, error = scores.mean(), scores.std(ddof=1) / np.sqrt(60)
    t = []
    for _ in range(20_000):
        drawn = generator.choice(scores, 60)
        t.append((drawn.mean() - mean) / (drawn.std(ddof=1) / np.sqrt(60)))
    low, high = mean - np.quantile(t, [0.975, 0.025]) * error
    ours = score_of(scores, names(60)).interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.004)


def test_on_symmetrical_scores_it_agrees_with_students_interval() -> None:
    scores = np.random.default_rng(4).random(400)
    ours = score_of(scores, names(400)).interval(0.95)
    theirs = stats.ttest_1samp(scores, 0.5).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_p_values_far_out_are_students_not_one_in_so_many_resamples() -> None:
    scores = np.random.default_rng(4).random(400)
    ours = score_of(scores, names(400), how=Resampling(resamples=20_000))
    for limit in (0.2, 0.35, 0.4, 0.45):
        theirs = stats.ttest_1samp(scores, limit, alternative="greater").pvalue
        assert theirs < 1e-8
        assert np.log(ours.p_at_most(limit)) == pytest.approx(np.log(theirs), rel=0.05)


def test_p_values_fall_as_the_limit_moves_away() -> None:
    score = score_of(np.random.default_rng(4).random(80), names(80), how=Resampling(resamples=500))
    p = [score.p_at_most(limit) for limit in np.linspace(0.2, 0.6, 60)]
    assert p == sorted(p)


def test_the_bound_is_where_the_p_value_is_the_tail() -> None:
    score = score_of(np.random.default_rng(4).random(80), names(80))
    for tail in (0.05, 0.01, 0.0005):
        assert score.p_at_most(score.lower(tail)) == pytest.approx(tail, rel=0.05, abs=2e-4)


def test_where_no_cluster_differs_the_bound_is_exact() -> None:
    """A share s of clusters that differ goes unseen with chance (1 - s)^40: at 5%, s is 7.2%."""
    score = score_of(np.full(80, 0.5), names(40, 2))
    assert isinstance(score, Bootstrapped)
    assert score.lower(0.05) == pytest.approx(0.5 - (1 - 0.05 ** (1 / 40)))
    assert score.p_at_most(0.5 - (1 - 0.05 ** (1 / 40))) == pytest.approx(0.05)


def test_two_clusters_that_are_not_wholly_right_leave_a_bound_like_that_of_two_failures() -> None:
    scores = np.ones(200)
    scores[[3, 90]] = 0.02
    partial = score_of(scores, names(200)).lower(0.05)
    failures = score_of((scores > 0.5).astype(float), names(200)).lower(0.05)
    assert partial == pytest.approx(failures, abs=0.003)


def test_two_clusters_that_differ_are_compared_like_two_cases_that_do() -> None:
    a, b = np.ones(200), np.ones(200)
    a[0] = 0.999  # not all 0 and 1
    b[[3, 90]] = 0.0
    partial = pair_of(a, b, names(200))
    whole = pair_of(np.ones(200), b, names(200))
    assert partial.p_shown_below(0.05) == pytest.approx(whole.p_shown_below(0.05), rel=0.25)


def test_f1_of_nothing_to_find_is_not_taken_for_proof() -> None:
    nothing = score_of(np.zeros((40, 3)), names(40), "micro-f1")
    assert (nothing.estimate, nothing.lower(0.05), nothing.p_at_most(0.9)) == (1, None, 1)
    one_invented = np.zeros((40, 3))
    one_invented[5, 1] = 1
    pair = pair_of(np.zeros((40, 3)), one_invented, names(40), "micro-f1")
    assert pair.difference == 1
    assert pair.comparison(0.95).interval.low is None
    assert pair.comparison(0.95).p > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("cases", [50, 200, 1000])
@pytest.mark.parametrize("mean", [0.05, 0.5, 0.95])
def test_intervals_of_partial_scores_cover_also_near_0_and_1(cases: int, mean: float) -> None:
    """Clusters of 5 that share two thirds of their variance."""
    from scipy import special

    generator = np.random.default_rng([cases, int(100 * mean)])
    clusters = names(cases // 5, 5)
    covered = 0
    for _ in range(1000):
        within = np.repeat(generator.standard_normal(cases // 5), 5)
        uniform = special.ndtr(np.sqrt(2 / 3) * within + np.sqrt(1 / 3) * generator.standard_normal(cases))
        interval = score_of(uniform ** (1 / mean - 1), clusters, how=Resampling(resamples=500)).interval(0.95)
        covered += interval.low <= mean <= interval.high
    assert covered / 1000 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 1000)
    assert covered / 1000 <= 0.985, "an interval that always covers says nothing"
