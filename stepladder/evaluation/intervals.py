"""How sure a score is: the method that suits the score, as an interval, bounds and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from stepladder.evaluation.bootstrap import Bootstrapped, bootstrap_score
from stepladder.evaluation.judged import Corrected
from stepladder.evaluation.proportions import Interval, Proportion, proportion
from stepladder.evaluation.resampling import (
    DEFAULT,
    Resampling,
    Statistic,
    checked,
    is_binary,
    over_under,
    sums_by_cluster,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Score(Protocol):
    """A score with its error. Each p-value is one-sided, against the limit that the name tells."""

    @property
    def estimate(self) -> float:
        """The score itself."""

    @property
    def design_effect(self) -> float:
        """How many times more cases are needed than if they were independent."""

    @property
    def sd(self) -> float:
        """Standard error times the root of the number of cases: of the cases alone, clustering included."""

    @property
    def fixed(self) -> float:
        """Variance that more cases do not lessen: what a judge's labels leave; else 0."""

    def p_at_most(self, limit: float) -> float:
        """Against "the true score is at most ``limit``"."""

    def p_at_least(self, limit: float) -> float:
        """Against "the true score is at least ``limit``"."""

    def lower(self, tail: float) -> float | None:
        """One-sided lower bound at confidence ``1 - tail``; None where undefined."""

    def interval(self, confidence: float) -> Interval:
        """Two-sided."""


def score_of(
    values: ArrayLike,
    clusters: Sequence[str],
    statistic: Statistic = "mean",
    how: Resampling = DEFAULT,
) -> Score:
    """A score with its error: a proportion where every value is 0 or 1, else a cluster bootstrap.

    A judge's scores of 0 and 1 are corrected for its errors (``how.errors``).

    Raises:
        StepladderError: no cases, or lengths or values that cannot be.
    """
    array = checked(values, clusters, statistic)
    if statistic == "mean" and is_binary(array):
        share = proportion(array, clusters)
        return Corrected(share, how.errors) if how.errors else share
    return _bootstrapped(array, clusters, statistic, how)


def cluster_bootstrap(
    values: ArrayLike,
    clusters: Sequence[str],
    statistic: Statistic = "mean",
    how: Resampling = DEFAULT,
) -> Interval:
    """Interval of a mean score or of micro F1, by resampling clusters with replacement (``bootstrap``).

    Where no cluster differs from another (all cases right, say) the ends are exact. One cluster alone has
    no interval.

    Raises:
        StepladderError: no cases, or lengths or values that cannot be.
    """
    return _bootstrapped(values, clusters, statistic, how).interval(how.confidence)


def _bootstrapped(
    values: ArrayLike, clusters: Sequence[str], statistic: Statistic, how: Resampling
) -> Bootstrapped | Proportion:
    import numpy as np

    sums = sums_by_cluster(values, clusters, statistic)
    over, under = over_under(np.asarray(values, dtype=np.float64), statistic)
    total = under.sum()
    residuals = over - (over.sum() / total if total else 1.0) * under
    naive = float(np.sqrt((residuals**2).sum())) / total if total else 0.0
    return bootstrap_score(sums, len(clusters), float(naive), how)
