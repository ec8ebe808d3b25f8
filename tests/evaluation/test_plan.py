"""How many cases a task needs: from what was measured, or from assumptions that are stated."""

from __future__ import annotations

import math

import pytest

from stepladder.evaluation.plan import Spread, Wanted, assumed_spread, plan

WANTED = Wanted(task="t", bar=0.7, margin=0.05, power=0.8, alpha=0.05, rungs=4, cases=160)


def test_numbers_agree_with_statsmodels() -> None:
    from statsmodels.stats.power import normal_sample_size_one_tail

    found = plan(WANTED, Spread(score=1.0, pair=0.4, source="measured"))
    for needed, fewest, most in (
        # Two rungs are in the running, and the cheaper has two ways to be left; or four rungs and four ways.
        (found.as_good, 0.045 / 2, 0.045 / 4),
        (found.better, 0.045 / 4, 0.045 / 16),
    ):
        theirs = [math.ceil(normal_sample_size_one_tail(0.05, 0.8, a, 0.4)) for a in (fewest, most)]
        assert [needed.fewest, needed.most] == theirs
    bar, truth = math.sqrt(0.7 * 0.3), math.sqrt(0.75 * 0.25)
    theirs = normal_sample_size_one_tail(0.05, 0.8, 0.045, bar, std_alternative=truth)
    assert found.good_enough.fewest == pytest.approx(theirs + 1 / 0.05, abs=1)
    assert found.cases == max(found.good_enough.fewest, found.as_good.fewest, found.better.fewest)


def test_half_the_margin_needs_four_times_the_cases() -> None:
    spread = Spread(score=1.0, pair=0.4, source="measured")
    halved = plan(WANTED.model_copy(update={"margin": 0.025}), spread)
    assert halved.as_good.fewest == pytest.approx(4 * plan(WANTED, spread).as_good.fewest, rel=0.01)


def test_clusters_cost_cases_and_the_assumption_is_stated() -> None:
    alone = assumed_spread([str(i) for i in range(100)])
    in_fives = assumed_spread([str(i // 5) for i in range(100)])
    assert in_fives.pair**2 == pytest.approx(alone.pair**2 * 1.4)
    assert "assumed, for want of a verdict" in in_fives.source
    assert "5.0 cases to a cluster" in in_fives.source
