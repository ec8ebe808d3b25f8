"""How sure a score is: intervals and paired tests in which the cluster, not the case, is the unit.

Cases about one source document or made by one generator fail together, so an error computed as if they
were independent is too small (Miller, 2024, "Adding error bars to evals"). Everything here
resamples or relabels whole clusters; the one assumption is that clusters are exchangeable and independent.

``values`` are float arrays by case: shape (cases,) of scores in [0, 1] for the statistic ``mean``, shape
(cases, 3) of (true positives, false positives, false negatives) for ``micro-f1``. ``clusters`` holds one
name a case. The same seed gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from stepladder.errors import StepladderError
from stepladder.tasks import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Statistic = Literal["mean", "micro-f1"]

_DRAWS_AT_ONCE = 4_000_000  # bounds memory: about 64 MB of draws and weights


class Resampling(Strict):
    """How many bootstrap resamples (or permutations), at which confidence, from which seed."""

    resamples: int = Field(default=10_000, ge=100)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    seed: int = 0


DEFAULT = Resampling()


class Interval(Strict):
    """An estimate with its two-sided interval; ``low`` and ``high`` are None where none is defined."""

    estimate: float
    low: float | None
    high: float | None
    confidence: float
    method: str


class Comparison(Strict):
    """``a`` minus ``b`` on the same cases: the difference, its interval, and a two-sided p-value."""

    difference: float
    interval: Interval
    p: float
    test: str


def cluster_bootstrap(
    values: ArrayLike,
    clusters: Sequence[str],
    statistic: Statistic = "mean",
    how: Resampling = DEFAULT,
) -> Interval:
    """Interval of a mean score or of micro F1, by resampling clusters with replacement.

    The quantiles are those of the expanded percentile interval (Hesterberg, 2015, "What teachers should
    know about the bootstrap"), which widens the plain percentile interval, too short for few clusters, as
    Student's t does the normal one. It is still short within a few cases of a score of 0 or 1. Where every
    resample agrees (all cases right, say) the bootstrap has nothing to go by, and the interval is Wilson's
    (1927) with one observation a cluster. One cluster alone has no interval.

    Raises:
        StepladderError: no cases, or lengths or values that cannot be.
    """
    totals = _by_cluster(values, clusters, statistic)
    estimate = float(_value(totals.sum(axis=0), statistic))
    if len(totals) == 1:
        return _undefined(estimate, how.confidence)
    replicates = _concatenate(_value(weights @ totals, statistic) for weights in _resampled(len(totals), how))
    if _all_equal(replicates):
        low, high = wilson(estimate * len(totals), len(totals), how.confidence)
        return Interval(estimate=estimate, low=low, high=high, confidence=how.confidence, method="Wilson")
    low, high = _expanded_percentile(replicates, len(totals), how.confidence)
    return _bootstrapped(estimate, low, high, how.confidence)


def lower_bound(
    values: ArrayLike,
    clusters: Sequence[str],
    statistic: Statistic = "mean",
    how: Resampling = DEFAULT,
) -> float | None:
    """One-sided lower confidence bound, or None where no interval is defined.

    It is the low end of the two-sided interval that leaves ``1 - how.confidence`` in each tail.

    Raises:
        StepladderError: as ``cluster_bootstrap``.
    """
    two_sided = how.model_copy(update={"confidence": 2 * how.confidence - 1})
    return cluster_bootstrap(values, clusters, statistic, two_sided).low


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[str],
    statistic: Statistic = "mean",
    how: Resampling = DEFAULT,
) -> Comparison:
    """``a`` minus ``b`` on the same cases, in the same order.

    The interval is the expanded percentile interval of the paired cluster bootstrap (both sides are
    resampled together). The p-value is of the paired permutation test that swaps ``a`` and ``b`` in whole
    clusters (Canay, Romano & Shaikh, 2017, "Randomization tests under an approximate symmetry
    assumption"; for F1, Yeh, 2000, "More accurate tests for the statistical significance of result
    differences"): all swaps where they are fewer than ``resamples``, else random ones with the observed
    one counted in (Phipson & Smyth, 2010). It assumes that under the null hypothesis a cluster's two sides
    could as well have been swapped.

    Where no case differs the interval reaches as far as a difference in 0 of that many clusters can
    (Wilson): three tied cases do not prove that two rungs are equal.

    Raises:
        StepladderError: no cases, or sides of unequal length.
    """
    totals_a, totals_b = _by_cluster(a, clusters, statistic), _by_cluster(b, clusters, statistic)
    difference = float(_value(totals_a.sum(axis=0), statistic) - _value(totals_b.sum(axis=0), statistic))
    p, test = _sign_flip(totals_a, totals_b, statistic, how)
    if len(totals_a) == 1:
        interval = _undefined(difference, how.confidence)
        return Comparison(difference=difference, interval=interval, p=p, test=test)
    replicates = _concatenate(
        _value(weights @ totals_a, statistic) - _value(weights @ totals_b, statistic)
        for weights in _resampled(len(totals_a), how)
    )
    if _all_equal(replicates):
        reach = wilson(0, len(totals_a), how.confidence)[1]
        low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
    else:
        low, high = _expanded_percentile(replicates, len(totals_a), how.confidence)
    interval = _bootstrapped(difference, low, high, how.confidence)
    return Comparison(difference=difference, interval=interval, p=p, test=test)


def wilson(successes: float, trials: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson, 1927); takes fractional, that is effective, counts."""
    z = _normal_quantile((1 + confidence) / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def cases_needed(
    difference: float,
    *,
    sd: float | None = None,
    discordance: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Cases that a one-sided level ``alpha`` test needs to see ``difference`` with the given power.

    Give either ``sd``, the standard deviation of a case's score (or paired difference), or, for scores of
    0 and 1, ``discordance``: the share of cases on which the two sides differ, whose paired difference
    has the variance ``discordance - difference**2``. The normal approximation of Student's test (Lachin,
    1981, "Introduction to sample size determination and power analysis"). For clustered cases give the
    standard error times the root of the number of cases as ``sd``: more cases then means more clusters.

    Raises:
        StepladderError: the difference is zero, or not exactly one of ``sd`` and ``discordance`` is given.
    """
    if difference == 0:
        raise StepladderError(
            "no number of cases can show a difference of zero",
            remedy="ask for the smallest difference that would matter to you",
        )
    if (sd is None) == (discordance is None):
        raise StepladderError("give either sd or discordance", remedy="give exactly one of them")
    variance = sd**2 if sd is not None else (discordance or 0.0) - difference**2
    if variance < 0:
        raise StepladderError(
            f"a difference of {difference:g} needs a discordance of at least {abs(difference):g}",
            remedy="give the share of cases on which the two sides differ, between 0 and 1",
        )
    z = _normal_quantile(1 - alpha) + _normal_quantile(power)
    return max(2, math.ceil(z**2 * variance / difference**2))


def _by_cluster(values: ArrayLike, clusters: Sequence[str], statistic: Statistic) -> Floats:
    """Sums by cluster, clusters in name order: (score, cases) for the mean, (tp, fp, fn) for F1."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise StepladderError("there are no cases to compute a score from", remedy="give at least one case")
    if len(array) != len(clusters):
        raise StepladderError(
            f"{len(array)} values for {len(clusters)} cases",
            remedy="both sides and the clusters must be of the same cases, in the same order",
        )
    if array.shape[1:] != (() if statistic == "mean" else (3,)):
        raise StepladderError(
            f"values of shape {array.shape} do not fit the statistic {statistic}",
            remedy="give one score a case for mean, (tp, fp, fn) a case for micro-f1",
        )
    if not np.isfinite(array).all() or array.min() < 0 or (statistic == "mean" and array.max() > 1):
        raise StepladderError(
            "scores must lie in [0, 1] and counts must not be negative", remedy="mend the scorer"
        )
    columns = np.column_stack([array, np.ones(len(array))]) if statistic == "mean" else array
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((index.max() + 1, columns.shape[1]))
    np.add.at(sums, index, columns)
    return sums


def _value(totals: Floats, statistic: Statistic) -> Floats:
    """The statistic of summed columns, over the last axis. F1 with nothing to find and nothing said is 1."""
    import numpy as np

    if statistic == "mean":
        return np.asarray(totals[..., 0] / totals[..., 1])
    found = 2 * totals[..., 0]
    wrong = totals[..., 1] + totals[..., 2]
    empty = found + wrong == 0
    return np.asarray(np.where(empty, 1.0, found / np.where(empty, 1.0, found + wrong)))


def _resampled(size: int, how: Resampling) -> Iterator[Floats]:
    """How often each cluster is drawn in each resample: arrays of shape (some resamples, size)."""
    import numpy as np

    generator = np.random.default_rng(how.seed)
    for rows in _parts(size, how.resamples):
        drawn = generator.integers(size, size=(rows, size)) + np.arange(rows)[:, None] * size
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _sign_flip(a: Floats, b: Floats, statistic: Statistic, how: Resampling) -> tuple[float, str]:
    """Two-sided p-value over swaps of whole clusters, and the test's name."""
    import numpy as np

    size = len(a)
    sum_a, sum_b = a.sum(axis=0), b.sum(axis=0)

    def differences(swaps: Floats) -> Floats:
        moved = swaps @ (b - a)
        return _value(sum_a + moved, statistic) - _value(sum_b - moved, statistic)

    observed = abs(float(_value(sum_a, statistic) - _value(sum_b, statistic))) - 1e-12
    if 2**size <= how.resamples:
        swaps = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
        share = np.mean(np.abs(differences(swaps.astype(np.float64))) >= observed)
        return float(share), "exact cluster sign-flip permutation"
    generator = np.random.default_rng([how.seed, 1])
    extreme = sum(
        int(np.sum(np.abs(differences(_coins(generator, rows, size))) >= observed))
        for rows in _parts(size, how.resamples)
    )
    return (extreme + 1) / (how.resamples + 1), "cluster sign-flip permutation"


def _coins(generator: np.random.Generator, rows: int, size: int) -> Floats:
    import numpy as np

    return generator.integers(2, size=(rows, size), dtype=np.int8).astype(np.float64)


def _parts(size: int, resamples: int) -> Iterator[int]:
    """Resamples in parts small enough for memory."""
    most = max(1, _DRAWS_AT_ONCE // size)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def _concatenate(parts: Iterator[Floats]) -> Floats:
    import numpy as np

    return np.concatenate(list(parts))


def _all_equal(replicates: Floats) -> bool:
    return bool(replicates.max() - replicates.min() < 1e-12)


def _expanded_percentile(replicates: Floats, size: int, confidence: float) -> tuple[float, float]:
    """Quantiles at the level whose normal quantile is Student's times sqrt(n / (n - 1))."""
    import numpy as np
    from scipy import stats

    tail = stats.norm.sf(math.sqrt(size / (size - 1)) * stats.t.isf((1 - confidence) / 2, size - 1))
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def _bootstrapped(estimate: float, low: float, high: float, confidence: float) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, confidence=confidence, method="cluster bootstrap")


def _undefined(estimate: float, confidence: float) -> Interval:
    method = "undefined: all cases stand in one cluster"
    return Interval(estimate=estimate, low=None, high=None, confidence=confidence, method=method)


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
