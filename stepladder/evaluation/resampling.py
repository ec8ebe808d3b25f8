"""Clusters drawn with replacement, and clusters whose two sides are swapped: the machinery of resampling.

Cases about one source document or made by one generator fail together, so an error computed as if they
were independent is too small (Miller, 2024, "Adding error bars to evals"). Everything here resamples or
relabels whole clusters; the one assumption is that clusters are exchangeable and independent.

``values`` are float arrays by case: shape (cases,) of scores in [0, 1] for the statistic ``mean``, shape
(cases, 3) of (true positives, false positives, false negatives) for ``micro-f1``. ``clusters`` holds one
name a case. Both statistics are ratios of sums, score over cases and 2 tp over 2 tp + fp + fn, so all there
is to know of a cluster is its two sums: arrays of shape (clusters, 2). The same seed gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from stepladder.errors import StepladderError
from stepladder.tasks import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Statistic = Literal["mean", "micro-f1"]

_AT_ONCE = 400_000  # draws in one part: what is counted and multiplied at once stays in the cache
_KEPT = 120_000_000  # bytes of draws that are kept for the next rung


class JudgeErrors(Strict):
    """How often a judge agrees with people, of answers that they call right and of those they call wrong.

    ``right`` and ``wrong`` are effective numbers of labels: clustered ones count for less.
    """

    sensitivity: float = Field(ge=0, le=1)
    right: float = Field(gt=0)
    specificity: float = Field(ge=0, le=1)
    wrong: float = Field(gt=0)


class Resampling(Strict):
    """How many bootstrap resamples (or permutations), at which confidence, from which seed.

    ``errors``: of the judge that gave the scores, for which they are corrected; None: they are what they say.
    """

    resamples: int = Field(default=10_000, ge=100)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    seed: int = 0
    errors: JudgeErrors | None = None


DEFAULT = Resampling()


def sums_by_cluster(values: ArrayLike, clusters: Sequence[str], statistic: Statistic) -> Floats:
    """Sums by cluster, in the order of their content: neither names nor the order of cases matter.

    Raises:
        StepladderError: no cases, or lengths or values that cannot be.
    """
    return _in_order(_sums(values, clusters, statistic))


def paired_sums(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[str], statistic: Statistic
) -> tuple[Floats, Floats]:
    """Sums by cluster of both sides, clusters in the same order.

    Raises:
        StepladderError: as ``sums_by_cluster``, for either side.
    """
    import numpy as np

    left, right = _sums(a, clusters, statistic), _sums(b, clusters, statistic)
    both = _in_order(np.hstack([left, right]))
    return both[:, : left.shape[1]], both[:, left.shape[1] :]


def _sums(values: ArrayLike, clusters: Sequence[str], statistic: Statistic) -> Floats:
    import numpy as np

    over, under = over_under(checked(values, clusters, statistic), statistic)
    index, size = numbered(clusters)
    return np.column_stack([np.bincount(index, weights=part, minlength=size) for part in (over, under)])


def over_under(values: Floats, statistic: Statistic) -> tuple[Floats, Floats]:
    """What is summed by case, above and below the line of the ratio."""
    import numpy as np

    if statistic == "mean":
        return values, np.ones(len(values))
    return 2 * values[:, 0], 2 * values[:, 0] + values[:, 1] + values[:, 2]


def _in_order(rows: Floats) -> Floats:
    """Rows sorted by content, so that the same clusters meet the same draws whatever they are called."""
    import numpy as np

    return np.asarray(rows[np.lexsort(rows.round(9).T[::-1])])


def checked(values: ArrayLike, clusters: Sequence[str], statistic: Statistic) -> Floats:
    """The values as an array.

    Raises:
        StepladderError: no cases, or lengths or values that cannot be.
    """
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
    return array


def is_binary(values: Floats) -> bool:
    """Whether every value is 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())


def numbered(clusters: Sequence[str]) -> tuple[NDArray[np.intp], int]:
    """A number for each case's cluster, by first appearance, and how many clusters there are."""
    import numpy as np

    numbers: dict[str, int] = {}
    index = np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=np.intp)
    return index, len(numbers)


def ratio(sums: Floats) -> Floats:
    """Of summed columns, over the last axis. F1 with nothing to find and nothing said is 1."""
    import numpy as np

    over, under = sums[..., 0], sums[..., 1]
    return np.asarray(np.where(under == 0, 1.0, over / np.where(under == 0, 1.0, under)))


def swapped_differences(a: Floats, b: Floats, how: Resampling) -> tuple[Floats, bool]:
    """The ratio of ``a`` minus that of ``b`` where the sides of random clusters are swapped.

    Returns:
        The differences, and whether they are all that there are (few clusters) and not a random part.
    """
    import numpy as np

    size = len(a)
    sum_a, sum_b = a.sum(axis=0), b.sum(axis=0)

    def differences(swaps: Floats) -> Floats:
        moved = swaps @ (b - a)
        return ratio(sum_a + moved) - ratio(sum_b - moved)

    if 2**size <= how.resamples:
        every = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
        return differences(every.astype(np.float64)), True
    return np.concatenate([differences(part) for part in _coins(size, how)]), False


def _coins(size: int, how: Resampling) -> Iterator[Floats]:
    """Fair coins, 0 or 1, of shape (some resamples, size); the same for every two rungs."""
    import numpy as np

    for packed in _kept_coins(size, how.resamples, how.seed):
        yield np.unpackbits(packed, axis=1, count=size).astype(np.float64)


@lru_cache(maxsize=4)
def _kept_coins(size: int, resamples: int, seed: int) -> tuple[NDArray[np.uint8], ...]:
    import numpy as np

    generator = np.random.default_rng([seed, 1])
    width = -(-size // 8)
    return tuple(
        generator.integers(256, size=(rows, width), dtype=np.uint8) for rows in _parts(size, resamples)
    )


def draws(size: int, how: Resampling) -> Iterator[NDArray[np.uint8]]:
    """How often each cluster is drawn in each resample: arrays of shape (some resamples, size)."""
    if size * how.resamples <= _KEPT:
        yield from _kept_draws(size, how.resamples, how.seed)
    else:
        yield from _fresh_draws(size, how.resamples, how.seed)


@lru_cache(maxsize=4)  # a ladder and its slices
def _kept_draws(size: int, resamples: int, seed: int) -> tuple[NDArray[np.uint8], ...]:
    return tuple(_fresh_draws(size, resamples, seed))


def _fresh_draws(size: int, resamples: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    import numpy as np

    generator = np.random.default_rng(seed)
    for rows in _parts(size, resamples):
        drawn = generator.integers(size, size=(rows, size)) + np.arange(rows)[:, None] * size
        counts = np.bincount(drawn.ravel(), minlength=rows * size)
        yield np.minimum(counts, 255).astype(np.uint8).reshape(rows, size)


def _parts(size: int, resamples: int) -> Iterator[int]:
    """Resamples in parts small enough for memory."""
    most = max(1, _AT_ONCE // size)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
