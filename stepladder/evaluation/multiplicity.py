"""Many questions, one error rate: Holm's steps, and the level at which a whole ladder may be tested."""

from __future__ import annotations

import math
from collections.abc import Sequence

SCREENING = 0.1  # share of alpha spent on finding out which rungs are out of the question


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (1979), in the order given.

    Those at most alpha may be rejected together; the chance of even one false rejection is at most alpha,
    whatever their dependence.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for step, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - step) * p_values[i]))
        adjusted[i] = least
    return adjusted


def screening_level(alpha: float, criteria: int) -> float:
    """The level at which one of ``criteria`` questions, of all rungs together, is answered "it fails"."""
    return SCREENING * alpha / max(criteria, 1)


def full_level(alpha: float, sharing: int) -> float:
    """The level of a single test where ``sharing`` rungs are all in the running: the least there may be."""
    return (1 - SCREENING) * alpha / sharing


def shared_level(alpha: float, failing: Sequence[float], screening: float, extra: int = 0) -> float:
    """The level for every single test on a ladder, so that any wrong promotion has chance at most ``alpha``.

    Each rung could be promoted wrongly, so the level would be ``alpha`` over the number of rungs, were it
    not that a rung far below its bar cannot in practice be. The two-step method (Romano, Shaikh & Wolf,
    2014, "A practical two-step method for testing moment inequalities", in Bonferroni's form) bounds
    first, with a tenth of alpha, how near to its bar each rung may truly be, and then shares the
    rest among the rungs by that: the level is Phi(-c), where the chances Phi(-(c + shortfall)) of all rungs
    to be ``c`` standard errors above their bars sum to 0.9 alpha.

    Args:
        alpha: error rate of the whole rule.
        failing: for each rung that could be run, the smallest p-value against "it meets its criteria"; 1
            where nothing is known.
        screening: level of that first step for one p-value.
        extra: further questions of the same weight.
    """
    from scipy import optimize, special

    bound = -float(special.ndtri(screening))
    shortfalls = [max(0.0, -float(special.ndtri(max(p, 1e-300))) - bound) for p in failing]
    shares = [*shortfalls, *([0.0] * extra)]
    left = (1 - SCREENING) * alpha

    def excess(c: float) -> float:
        return math.fsum(float(special.ndtr(-(c + shortfall))) for shortfall in shares) - left

    if excess(0.0) <= 0:  # every rung is out of the question
        return left
    return min(left, float(special.ndtr(-float(optimize.brentq(excess, 0.0, 40.0, xtol=1e-12)))))
