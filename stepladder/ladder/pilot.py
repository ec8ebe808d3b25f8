"""From short runs on slices of the examples to the score that the whole training is expected to reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.resampling import Statistic
from stepladder.evaluation.summary import ordered, statistic_of, values_of
from stepladder.tuning.curve import Prediction, extrapolate, resampled_clusters, with_the_unseen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLICES = (0.25, 0.5, 1.0)  # of the largest slice: doubling sizes show the curve best for their tokens


def largest_slice(tokens: int) -> int:
    """Tokens of the largest slice, where all of them together read ``tokens``."""
    return int(tokens / sum(SLICES))


def slice_budgets(largest: int) -> list[int]:
    """Tokens of each slice, ascending."""
    return [int(largest * share) for share in SLICES]


def predict(
    tokens: Sequence[int],
    outcomes: Sequence[RungOutcomes],
    target: int,
    confidence: float,
    seed: int = 0,
) -> Prediction:
    """The score expected after ``target`` training tokens.

    Args:
        tokens: that each slice's adapter has read, ascending.
        outcomes: of each on the same held-out rows.
        target: tokens of the whole training.
        confidence: of the two-sided interval.
        seed: of the bootstrap.

    Raises:
        StepladderError: there are fewer than three slices, or a slice has no outcomes.
    """
    import numpy as np

    rows = [ordered(one) for one in outcomes]
    statistic = statistic_of(rows[0])
    values = [values_of(one, statistic) for one in rows]
    scores = np.array([point_score(one, statistic) for one in values])
    draws = resampled_clusters([one.cluster for one in rows[0]], seed)
    replicates = np.array([[point_score(one[draw], statistic) for one in values] for draw in draws])
    clusters = len({one.cluster for one in rows[0]})
    return extrapolate(tokens, scores, with_the_unseen(replicates, clusters, seed), target, confidence)


def point_score(values: NDArray[np.float64], statistic: Statistic) -> float:
    """The statistic of all cases, without an interval; ``values`` as in ``evaluation.resampling``."""
    if statistic == "mean":
        return float(values.mean())
    tp, fp, fn = values.sum(axis=0)
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else 1.0
