"""Two rungs on the same cases: the difference, its interval, and p-values for "better" and "no worse".

Scores of 0 and 1 are counted where the sides differ: exact McNemar (1947) for cases that stand alone, and
Tango's score interval (1998, "Equivalence test and confidence interval for the difference in proportions for
the paired-sample design"), with counts divided by the design effect where cases are clustered. Other
scores: the cluster bootstrap-t, both sides resampled together. Where clusters hold several cases, or scores
are not 0 and 1, the test of no difference swaps the sides of whole clusters (Canay, Romano & Shaikh, 2017,
"Randomization tests under an approximate symmetry assumption"; for F1, Yeh, 2000, "More accurate tests for
the statistical significance of result differences").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from stepladder.evaluation.bootstrap import bootstrap_difference
from stepladder.evaluation.judged import CorrectedDifference
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.resampling import (
    DEFAULT,
    Resampling,
    Statistic,
    checked,
    is_binary,
    paired_sums,
    ratio,
    swapped_differences,
)
from stepladder.evaluation.tango import discordance_of, mcnemar
from stepladder.tasks import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class Comparison(Strict):
    """``a`` minus ``b`` on the same cases: the difference, its interval, and a two-sided p-value."""

    difference: float
    interval: Interval
    p: float
    test: str


class Difference(Protocol):
    """The error of a difference. Each p-value is one-sided, against the limit that the name tells."""

    @property
    def sd(self) -> float:
        """Standard error times the root of the number of cases: of the cases alone, clustering included."""

    def fixed_at(self, difference: float) -> float:
        """Variance that more cases do not lessen where that is the true difference: of a judge's labels."""

    def p_at_most(self, limit: float) -> float:
        """Against "the true difference is at most ``limit``"."""

    def p_at_least(self, limit: float) -> float:
        """Against "the true difference is at least ``limit``"."""

    def interval(self, confidence: float) -> Interval:
        """Two-sided."""

    def mirrored(self) -> Difference:
        """Of the difference the other way round."""


@dataclass(frozen=True)
class Pair:
    """``a`` minus ``b``. ``sd`` times 1 / sqrt(cases) is the standard error that the cases leave, clustering
    included; ``error.fixed_at`` tells what a judge's labels add.

    ``p_better`` and ``p_worse`` are exact or by permutation, against "no better" and "no worse" than ``b``;
    ``discordance`` is the share of cases on which the sides differ.
    """

    difference: float
    error: Difference
    p_better: float
    p_worse: float
    test: str
    sd: float
    discordance: float

    def p_shown_below(self, margin: float) -> float:
        """p-value for "``a`` is better by less than ``margin``": that ``b`` is non-inferior."""
        return self.error.p_at_least(margin)

    def mirrored(self) -> Pair:
        """``b`` minus ``a``."""
        return replace(
            self,
            difference=-self.difference,
            error=self.error.mirrored(),
            p_better=self.p_worse,
            p_worse=self.p_better,
        )

    def comparison(self, confidence: float) -> Comparison:
        """For a reader: two-sided interval and p-value."""
        return Comparison(
            difference=self.difference,
            interval=self.error.interval(confidence),
            p=min(1.0, 2 * min(self.p_better, self.p_worse)),
            test=self.test,
        )


def pair_of(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[str],
    statistic: Statistic = "mean",
    how: Resampling = DEFAULT,
) -> Pair:
    """Compare two rungs on the same cases, in the same order.

    Raises:
        StepladderError: no cases, or sides of unequal length.
    """
    import numpy as np

    left, right = checked(a, clusters, statistic), checked(b, clusters, statistic)
    sums = paired_sums(left, right, clusters, statistic)
    value_a, value_b = (float(ratio(side.sum(axis=0))) for side in sums)
    if value_a < value_b:  # always from the better side, so that b minus a mirrors a minus b
        return pair_of(b, a, clusters, statistic, how).mirrored()
    difference = value_a - value_b
    binary = statistic == "mean" and is_binary(left) and is_binary(right)
    error: Difference
    if binary:
        counted = discordance_of(left, right, clusters)
        error = CorrectedDifference(counted, how.errors) if how.errors else counted
    else:
        error = bootstrap_difference(*sums, len(left), 0.0, how)
    if binary and len(sums[0]) == len(left):
        p_better, p_worse = mcnemar(left, right)
        test = "exact McNemar"
    else:
        p_better, p_worse, test = _swap(difference, *sums, how)
    differ = left != right if left.ndim == 1 else (left != right).any(axis=1)
    if isinstance(error, CorrectedDifference):
        difference = error.estimate
    return Pair(difference, error, p_better, p_worse, test, error.sd, float(np.mean(differ)))


def _swap(difference: float, a: Floats, b: Floats, how: Resampling) -> tuple[float, float, str]:
    """One-sided p-values over swaps of whole clusters, and the test's name.

    Where swaps are drawn, the observed one counts (Phipson & Smyth, 2010, "Permutation p-values should
    never be zero").
    """
    import numpy as np

    swapped, every = swapped_differences(a, b, how)
    above = int(np.sum(swapped >= difference - 1e-12))
    below = int(np.sum(swapped <= difference + 1e-12))
    if every:
        return above / len(swapped), below / len(swapped), "exact cluster sign-flip permutation"
    size = len(swapped) + 1
    return (above + 1) / size, (below + 1) / size, "cluster sign-flip permutation"
