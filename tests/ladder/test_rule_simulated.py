"""The whole rule on thousands of ladders whose truth is known: wrong promotions, and the power to be right.

Every ladder has four rungs on the same cases; a case is as hard for all of them up to a correlation of
1/2, and cases of one cluster are alike. "Wrong" is what the rule promises against: a rung that misses
the bar, one that is worse by the margin than a good dearer one, or one dearer than a rung that is as good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import special, stats

from stepladder.evaluation.intervals import score_of
from stepladder.evaluation.pairs import pair_of
from stepladder.evaluation.power import cases_for_share
from stepladder.evaluation.resampling import Resampling
from stepladder.ladder.criteria import Asked, Bounded
from stepladder.ladder.rule import Walk, walk
from stepladder.ladder.weigh import ladder_of, replaces

LADDERS = 2000
ALPHA, BAR, MARGIN = 0.05, 0.7, 0.1
RUNGS = ("prompt", "rag", "lora", "lora+rag")
QUICK = Resampling(resamples=400)
Scores = dict[str, np.ndarray]


def decide(scores: Scores, clusters: list[str], extra: int = 0) -> Walk:
    """The rule as ``weigh`` applies it; ``extra`` is 1 where a champion serves."""
    asked = {
        rung: Asked((Bounded("score", BAR, score_of(one, clusters, "mean", QUICK), len(one)),), ())
        for rung, one in scores.items()
    }
    pairs = {
        (dearer, cheaper): pair_of(scores[dearer], scores[cheaper], clusters, "mean", QUICK)
        for cheaper, dearer in combinations(RUNGS, 2)
    }
    return walk(replace(ladder_of(RUNGS, asked, pairs, MARGIN), extra=extra), ALPHA)


def uniforms(generator: np.random.Generator, clusters: int, size: int) -> Scores:
    """Uniform by case and rung: half of the variance is shared by rungs, and of that half by the cluster."""
    cases = clusters * size
    within = np.repeat(generator.standard_normal(clusters), size) if size > 1 else np.zeros(cases)
    shared = within + generator.standard_normal(cases) * (1.0 if size > 1 else np.sqrt(2))
    own = np.repeat(generator.standard_normal((clusters, 4)), size, axis=0) if size > 1 else 0.0
    mine = own + generator.standard_normal((cases, 4)) * (1.0 if size > 1 else np.sqrt(2))
    latent = (shared[:, None] + mine) / 2
    return {rung: special.ndtr(latent[:, i]) for i, rung in enumerate(RUNGS)}


def binary(uniform: np.ndarray, mean: float) -> np.ndarray:
    return (uniform < mean).astype(float)


def continuous(uniform: np.ndarray, mean: float) -> np.ndarray:
    """A power of a uniform: its mean is 1 / (power + 1)."""
    return uniform ** (1 / mean - 1)


Kind = Callable[[np.ndarray, float], np.ndarray]


def wrong_share(
    kind: Kind, size: int, means: tuple[float, ...], wrong: set[str], naive: bool = False
) -> float:
    """Share of ladders on which the rule promotes a rung that it should not."""
    generator = np.random.default_rng([size, len(wrong), int(naive)])
    clusters = 160 // size
    names = [str(i if naive else i // size) for i in range(clusters * size)]
    count = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, clusters, size)
        scores = {rung: kind(drawn[rung], mean) for rung, mean in zip(RUNGS, means, strict=True)}
        count += decide(scores, names).promoted in wrong
    return count / LADDERS


shapes = pytest.mark.parametrize("size", [1, 8], ids=["unclustered", "clusters of 8"])
kinds = pytest.mark.parametrize("kind", [binary, continuous])


@pytest.mark.slow
@kinds
@shapes
def test_all_equal_at_the_bar_any_promotion_is_wrong(kind: Kind, size: int) -> None:
    assert wrong_share(kind, size, (BAR,) * 4, set(RUNGS)) <= ALPHA


@pytest.mark.slow
@kinds
@shapes
def test_all_equal_above_the_bar_to_promote_a_dearer_one_is_wrong(kind: Kind, size: int) -> None:
    assert wrong_share(kind, size, (0.85,) * 4, set(RUNGS[1:])) <= ALPHA


@pytest.mark.slow
@kinds
@shapes
def test_three_that_are_worse_by_the_margin_are_not_promoted(kind: Kind, size: int) -> None:
    """The hardest case for "no worse": every cheaper rung lies exactly the margin below the dearest."""
    assert wrong_share(kind, size, (0.83, 0.83, 0.83, 0.93), set(RUNGS[:3])) <= ALPHA


@pytest.mark.slow
@pytest.mark.parametrize(("lead", "cheaper"), [(0.0, False), (MARGIN, True)])
def test_a_champion_that_is_no_worse_stays(lead: float, cheaper: bool) -> None:
    """As good as dearer rungs, or better by the margin than cheaper ones: no rung may replace it."""
    generator = np.random.default_rng([7, int(cheaper)])
    names = [str(i) for i in range(160)]
    wrong = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160, 1)
        champion = binary((drawn["rag"] + generator.random(160)) % 1, 0.83 + lead)
        scores = {rung: binary(drawn[rung], 0.83) for rung in RUNGS}
        ended = decide(scores, names, extra=1)
        if ended.promoted:
            against = pair_of(scores[ended.promoted], champion, names, "mean", QUICK)
            wrong += replaces(against, cheaper, MARGIN, ended.level)
    assert wrong / LADDERS <= ALPHA


@pytest.mark.slow
def test_counting_clustered_cases_as_if_they_were_independent_breaks_the_promise() -> None:
    assert wrong_share(binary, 8, (BAR,) * 4, set(RUNGS), naive=True) > ALPHA
    assert wrong_share(continuous, 8, (BAR,) * 4, set(RUNGS), naive=True) > ALPHA


@pytest.mark.slow
def test_a_level_of_alpha_for_each_rung_would_break_the_promise() -> None:
    """Why the level is shared: four rungs at their bars, each tested at alpha on its own."""
    generator = np.random.default_rng(3)
    names = [str(i) for i in range(160)]
    wrong = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160, 1)
        wrong += any(score_of(binary(one, BAR), names).p_at_most(BAR) <= ALPHA for one in drawn.values())
    assert wrong / LADDERS > 1.5 * ALPHA


@pytest.mark.slow
def test_the_right_rung_is_promoted_as_often_as_was_planned() -> None:
    """Three rungs out of the question: the power is that of one exact binomial test, summed, at 0.9 alpha."""
    truth = 0.8
    cases = cases_for_share(truth, BAR, power=0.8, alpha=0.9 * ALPHA)
    generator = np.random.default_rng(5)
    names = [str(i) for i in range(cases)]
    promoted = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, cases, 1)
        means = zip(RUNGS, (0.1, 0.2, 0.1, truth), strict=True)
        promoted += (
            decide({rung: binary(drawn[rung], mean) for rung, mean in means}, names).promoted == "lora+rag"
        )
    counts = np.arange(cases + 1)
    rejected = stats.binom.sf(counts - 1, cases, BAR) <= 0.9 * ALPHA
    power = stats.binom.pmf(counts, cases, truth)[rejected].sum()
    assert power >= 0.79
    assert promoted / LADDERS == pytest.approx(power, abs=3 * np.sqrt(0.16 / LADDERS))
