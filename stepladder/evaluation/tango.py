"""Paired scores of 0 and 1: what the cases on which the two sides differ tell.

With b cases that only the first side has right and c that only the second has, of n, the difference is
(b - c) / n. Exact McNemar tests it against 0, Tango's (1998) score statistic against any other value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stepladder.evaluation.proportions import Interval, undefined
from stepladder.evaluation.resampling import numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Discordance:
    """Effective counts, with the degrees of freedom of their design effect (infinite: there is none)."""

    only_first: float
    only_second: float
    cases: float
    degrees: float
    sd: float

    def mirrored(self) -> Discordance:
        """Of the difference the other way round."""
        return replace(self, only_first=self.only_second, only_second=self.only_first)

    def fixed_at(self, _difference: float) -> float:
        """0: cases without end would tell it."""
        return 0.0

    def p_at_most(self, limit: float) -> float:
        """p-value against "the true difference is at most ``limit``"."""
        return self.tail(-self.statistic(limit))

    def p_at_least(self, limit: float) -> float:
        """p-value against "the true difference is at least ``limit``"."""
        return self.tail(self.statistic(limit))

    def interval(self, confidence: float) -> Interval:
        """Two-sided: the differences that the score test does not reject."""
        from scipy import optimize, special

        estimate = (self.only_first - self.only_second) / self.cases
        if self.degrees == 0:
            return undefined(estimate, confidence)
        tail = (1 - confidence) / 2
        reach = -float(
            special.ndtri(tail) if math.isinf(self.degrees) else special.stdtrit(self.degrees, tail)
        )
        edge = 1 - 1e-9
        ends = []
        for target, start, end in ((reach, -edge, estimate), (-reach, estimate, edge)):
            beyond = [self.statistic(side) - target for side in (start, end)]
            # At the edge of the scale the test may reject nothing: then the interval reaches the edge.
            crosses = beyond[0] * beyond[1] < 0
            ends.append(
                float(optimize.brentq(lambda d, t=target: self.statistic(d) - t, start, end))
                if crosses
                else math.copysign(1.0, start if target > 0 else end)
            )
        return Interval(
            estimate=estimate, low=ends[0], high=ends[1], confidence=confidence, method="Tango score"
        )

    def statistic(self, limit: float) -> float:
        """Tango's statistic, standard normal where the true difference is ``limit``; falls as it rises."""
        return standardised(*self.at(limit))

    def at(self, limit: float) -> tuple[float, float]:
        """The excess of the counts over a difference of ``limit``, and its variance there."""
        b, c, n = self.only_first, self.only_second, self.cases
        linear = -b - c + (2 * n - b + c) * limit
        constant = -c * limit * (1 - limit)
        # The likeliest share of the second kind of case if the difference were the limit.
        share = (math.sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
        return b - c - n * limit, n * (2 * share + limit * (1 - limit))

    def tail(self, statistic: float) -> float:
        """The chance of a statistic as low, by its degrees of freedom."""
        from scipy import special

        if self.degrees == 0:
            return 1.0
        if math.isinf(self.degrees):
            return float(special.ndtr(statistic))
        return float(special.stdtr(self.degrees, statistic))


def standardised(excess: float, variance: float) -> float:
    """An excess over its standard error, also where there is none."""
    if variance > 1e-15:
        return excess / math.sqrt(variance)
    return math.copysign(math.inf, excess) if abs(excess) > 1e-12 else 0.0


def discordance_of(a: Floats, b: Floats, clusters: Sequence[str]) -> Discordance:
    """Count where two sides of 0 and 1, shape (cases,), differ; clustered counts weigh less.

    The design effect is the variance of the difference by clusters over that by cases, at least 1; where
    nothing differs it is the mean size of a cluster.
    """
    import numpy as np

    signs = a - b
    cases = len(signs)
    index, size = numbered(clusters)
    first, second = float((signs > 0).sum()), float((signs < 0).sum())
    mean = (first - second) / cases
    variance = (first + second) / cases - mean**2
    if size == cases:
        return Discordance(first, second, cases, math.inf, math.sqrt(variance))
    if variance <= 0:
        effect = cases / size
    else:
        residuals = np.bincount(index, weights=signs - mean, minlength=size)
        by_cluster = size / max(size - 1, 1) * float((residuals**2).sum()) / cases
        effect = max(1.0, by_cluster / variance)
    sd = math.sqrt(variance * effect)
    return Discordance(first / effect, second / effect, cases / effect, size - 1, sd)


def mcnemar(a: Floats, b: Floats) -> tuple[float, float]:
    """Exact one-sided p-values against "a is no better than b" and "a is no worse than b"."""
    from scipy import special

    first, second = int((a > b).sum()), int((a < b).sum())
    differ = first + second
    # P(X >= k) of a fair binomial, by the incomplete beta function.
    above = float(special.betainc(first, second + 1, 0.5)) if first else 1.0
    below = float(special.betainc(second, first + 1, 0.5)) if second else 1.0
    return (above, below) if differ else (1.0, 1.0)
