"""Many questions, one error rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stepladder.evaluation.multiplicity import SCREENING, holm, screening_level, shared_level


def test_holm_agrees_with_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    for p_values in ([0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.9], [0.5], [0.0, 1.0, 0.02, 0.02]):
        assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_rungs_near_their_bars_share_the_level_equally() -> None:
    level = shared_level(0.05, [0.5, 0.3, 0.9, 1.0], screening_level(0.05, 4))
    assert level == pytest.approx(0.9 * 0.05 / 4, rel=1e-6)


def test_rungs_far_below_their_bars_take_no_share() -> None:
    level = shared_level(0.05, [1e-60, 1e-80, 0.5], screening_level(0.05, 3))
    assert level == pytest.approx(0.9 * 0.05, rel=1e-6)


def test_the_nearer_to_its_bar_the_more_a_rung_takes() -> None:
    levels = [shared_level(0.05, [p, 0.5], screening_level(0.05, 2)) for p in (1e-12, 1e-6, 1e-4, 1e-2)]
    assert levels == sorted(levels, reverse=True)


def test_a_further_question_takes_a_share() -> None:
    screening = screening_level(0.05, 1)
    assert shared_level(0.05, [0.5], screening, extra=1) == pytest.approx(0.9 * 0.05 / 2, rel=1e-6)


@pytest.mark.parametrize(
    "shortfalls", [(0, 0, 0, 0), (0, 1, 2, 3), (0.5, 0.5, 4, 4), (2, 2, 2, 2), (3, 3, 0, 0)]
)
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_any_false_rejection_has_chance_alpha_whatever_the_shortfalls(
    shortfalls: tuple[float, ...], correlation: float
) -> None:
    """Normal scores that truly lie so many standard errors below their bars; none may be passed."""
    generator = np.random.default_rng(0)
    shared = generator.standard_normal((4000, 1))
    own = generator.standard_normal((4000, 4))
    z = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own - np.array(shortfalls)
    fails = stats.norm.cdf(z)
    screening = screening_level(0.05, 4)
    wrong = sum(
        float(stats.norm.sf(row.max())) <= shared_level(0.05, list(p), screening)
        for row, p in zip(z, fails, strict=True)
    )
    assert wrong / 4000 <= 0.05


def test_a_tenth_of_alpha_goes_to_finding_who_is_out() -> None:
    assert screening_level(0.05, 8) == pytest.approx(SCREENING * 0.05 / 8)
