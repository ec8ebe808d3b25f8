"""How many cases a task needs: from what was measured, or from assumptions that are stated."""

from __future__ import annotations

import math

import pytest

from stepladder.evaluation.plan import Spread, Wanted, assumed_spread, plan

WANTED = Wanted(task="t", bar=0.7, margin=0.05, power=0.8, alpha=0.05, rungs=4, cases=160)


def test_numbers_agree_with_statsmodels() -> None:
    from statsmodels.stats.power import normal_sample_size_one_tail

    found = plan(WANTED, Spread(score=0.43, pair=0.4, source="measured"))
    for needed, sd, fewest, most in (
        (found.good_enough, 0.43, 0.045, 0.045 / 4),
        (found.as_good, 0.4, 0.045, 0.045 / 4),
        (found.better, 0.4, 0.045 / 2, 0.045 / 16),
    ):
        theirs = [math.ceil(normal_sample_size_one_tail(0.05, 0.8, a, sd)) for a in (fewest, most)]
        assert [needed.fewest, needed.most] == theirs
    assert found.cases == max(found.good_enough.fewest, found.as_good.fewest, found.better.fewest)


def test_half_the_margin_needs_four_times_the_cases() -> None:
    spread = Spread(score=0.43, pair=0.4, source="measured")
    halved = plan(WANTED.model_copy(update={"margin": 0.025}), spread)
    assert halved.as_good.fewest == pytest.approx(4 * plan(WANTED, spread).as_good.fewest, rel=0.01)


def test_clusters_cost_cases_and_the_assumption_is_stated() -> None:
    alone = assumed_spread(0.7, 0.05, [str(i) for i in range(100)])
    in_fives = assumed_spread(0.7, 0.05, [str(i // 5) for i in range(100)])
    assert in_fives.pair**2 == pytest.approx(alone.pair**2 * 1.4)
    assert "assumed, for want of a verdict" in in_fives.source
    assert "5.0 cases to a cluster" in in_fives.source
