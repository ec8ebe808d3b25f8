"""Proportions of clustered cases: the effective number of cases, and exact bounds on it.

A score of 0 or 1 a case is a proportion. Unclustered it is binomial. Clustered it behaves like one of fewer
cases: ``effective`` cases = cases / design effect (Kish, 1965, "Survey Sampling"), with which exact bounds
keep their level (Korn & Graubard, 1998, "Confidence intervals for proportions with small expected number of
positive counts estimated from survey data"). Both hold near 0 and 1, where resampling has little to go by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepladder.evaluation.resampling import numbered
from stepladder.tasks import Strict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_FEW_CLUSTERS = 2.0  # of equal size: with fewer, one holds most of the cases
_TAIL = 0.025  # where Student's t stands in for the normal quantile in the effective number


class Interval(Strict):
    """An estimate with its two-sided interval; ``low`` and ``high`` are None where none is defined."""

    estimate: float
    low: float | None
    high: float | None
    confidence: float
    method: str


@dataclass(frozen=True)
class Proportion:
    """A share among ``cases`` cases that carry the information of ``effective`` independent ones."""

    estimate: float
    cases: int
    clusters: int
    effective: float

    @property
    def defined(self) -> bool:
        """Whether there is more than one cluster, so that its error can be told."""
        return self.clusters > 1 or self.cases == 1

    @property
    def design_effect(self) -> float:
        """How many times more cases are needed than if they were independent."""
        return self.cases / self.effective

    @property
    def sd(self) -> float:
        """Standard error times the root of the number of cases, never 0: one case more either way."""
        share = (self.estimate * self.effective + 1) / (self.effective + 2)
        return math.sqrt(share * (1 - share) * self.design_effect)

    @property
    def fixed(self) -> float:
        """0: cases without end would tell it."""
        return 0.0

    def p_at_most(self, limit: float) -> float:
        """p-value against "the true share is at most ``limit``" (exact: Clopper & Pearson, 1934)."""
        from scipy import special

        right = self.estimate * self.effective
        if not self.defined or right <= 0 or limit >= 1:
            return 1.0
        return float(special.betainc(right, self.effective - right + 1, max(limit, 0.0)))

    def p_at_least(self, limit: float) -> float:
        """p-value against "the true share is at least ``limit``"."""
        return Proportion(1 - self.estimate, self.cases, self.clusters, self.effective).p_at_most(1 - limit)

    def lower(self, tail: float) -> float | None:
        """The limit at which ``p_at_most`` is ``tail``: a one-sided lower bound; None where undefined."""
        from scipy import special

        if not self.defined:
            return None
        right = self.estimate * self.effective
        return float(special.betaincinv(right, self.effective - right + 1, tail)) if right > 0 else 0.0

    def upper(self, tail: float) -> float | None:
        """The one-sided upper bound; None where undefined."""
        low = Proportion(1 - self.estimate, self.cases, self.clusters, self.effective).lower(tail)
        return None if low is None else 1 - low

    def interval(self, confidence: float) -> Interval:
        """Two-sided, both ends exact: it covers at least as often as it says, near 0 and 1 too."""
        tail = (1 - confidence) / 2
        low, high = self.lower(tail), self.upper(tail)
        if low is None or high is None:
            return undefined(self.estimate, confidence)
        method = "Clopper-Pearson" if self.cases == self.effective else "Korn-Graubard"
        return Interval(estimate=self.estimate, low=low, high=high, confidence=confidence, method=method)


def proportion(values: ArrayLike, clusters: Sequence[str]) -> Proportion:
    """The mean of values of 0 and 1, shape (cases,), with its effective number of cases.

    The variance is that of a ratio of cluster sums, each cluster left out in turn (the jackknife), with
    Student's t on as many degrees of freedom as clusters of equal size would have (Kish: the square of the
    sum of sizes over the sum of squares, less 1): a few large clusters tell less than they seem to. Where one
    cluster dominates and leaves less than one degree, one is taken, since the quantile has no end below it,
    and each cluster counts as one case, which is the most that cases in it can be alike. Cases never count
    for more than they are. Where all values agree the clusters are counted: nothing tells how alike the cases
    in one are.
    """
    import numpy as np
    from scipy import special

    scores = np.asarray(values, dtype=np.float64)
    cases, share = len(scores), float(scores.mean())
    index, size = numbered(clusters)
    if size == cases:
        return Proportion(share, cases, size, float(cases))
    if size == 1 or share in (0.0, 1.0):
        return Proportion(share, cases, size, float(size))
    residuals = np.bincount(index, weights=scores - share, minlength=size)
    sizes = np.bincount(index, minlength=size)
    left_out = residuals / (1 - sizes / cases)
    variance = (size - 1) / size * float((left_out**2).sum()) / cases**2
    if variance == 0:
        return Proportion(share, cases, size, float(size))
    worth = cases**2 / float((sizes**2).sum())  # clusters of equal size that would err as much
    degrees = max(worth - 1, 1.0)
    widening = float((special.stdtrit(cases - 1, _TAIL) / special.stdtrit(degrees, _TAIL)) ** 2)
    effective = min(cases, share * (1 - share) / variance) * widening
    return Proportion(share, cases, size, min(effective, worth) if worth < _FEW_CLUSTERS else effective)


def undefined(estimate: float, confidence: float) -> Interval:
    """The interval of a score whose cases all stand in one cluster."""
    method = "undefined: all cases stand in one cluster, or there is nothing to count"
    return Interval(estimate=estimate, low=None, high=None, confidence=confidence, method=method)
