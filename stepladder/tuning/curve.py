"""A learning curve from a few short runs, extrapolated with its uncertainty.

The error of a model falls with its training data as an inverse power law, err(n) = a + b n^-c with a, b >= 0
(Figueroa et al., 2012, "Predicting sample size required for classification performance"; Hestness et al.,
2017, arXiv 1712.00409; for the shapes that curves take, Viering and Loog, 2023, "The shape of learning
curves: a review"). For each exponent of a grid a and b are found by non-negative least squares, and the
exponent that fits best is kept: no start values, nothing that can fail to converge. A bootstrap over the
clusters of the held-out rows, paired across the slices, repeats the fit: its percentiles are the interval.

The interval holds the noise of the held-out rows and the freedom of the fit, not that of another seed, and
not a curve of another shape. From few points it is wide, as it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from stepladder.errors import StepladderError
from stepladder.tasks import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_EXPONENTS = (0.1, 2.0, 39)  # first, last, how many: those seen lie between .1 and 1
_REPLICATES = 1000


class CurvePoint(Strict):
    """A slice: training tokens read, and the score reached on the held-out rows."""

    tokens: int
    score: float


class Prediction(Strict):
    """The score expected after ``tokens``, with its interval; ``points`` are what it was made from."""

    tokens: int
    score: float
    low: float
    high: float
    confidence: float
    points: list[CurvePoint]
    method: str = "inverse power law, cluster bootstrap over held-out rows"


def extrapolate(
    tokens: Sequence[int], scores: Floats, replicates: Floats, target: int, confidence: float
) -> Prediction:
    """Fit the curve and read it at ``target``.

    Args:
        tokens: of the slices, ascending; at least three.
        scores: shape (slices,), in [0, 1].
        replicates: shape (replicates, slices): the scores on resampled rows.
        target: training tokens to predict for.
        confidence: of the two-sided interval.

    Raises:
        StepladderError: there are fewer than three slices, or they do not grow.
    """
    import numpy as np

    if not is_curve(tokens):
        raise StepladderError(
            f"a curve needs three slices that grow, and theirs are {', '.join(map(str, tokens))} tokens",
            where="the pilot",
            remedy="raise climb.pilot_tokens, add examples, or set climb.pilot_tokens: 0 for no pilot",
        )
    sizes = np.asarray(tokens, dtype=np.float64)
    ends = _read_off(sizes, 1 - np.asarray(replicates), target)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ends, [tail, 1 - tail])
    score = float(_read_off(sizes, 1 - np.asarray(scores)[None], target)[0])
    return Prediction(
        tokens=target,
        score=round(score, 4),
        low=round(min(float(low), score), 4),
        high=round(max(float(high), score), 4),
        confidence=confidence,
        points=[CurvePoint(tokens=n, score=round(float(s), 4)) for n, s in zip(tokens, scores, strict=True)],
    )


def resampled_clusters(clusters: Sequence[str], seed: int) -> list[list[int]]:
    """Row numbers of each bootstrap replicate: whole clusters, drawn with replacement."""
    import numpy as np

    rows: dict[str, list[int]] = {}
    for number, name in enumerate(clusters):
        rows.setdefault(name, []).append(number)
    members = [rows[name] for name in sorted(rows)]
    drawn = np.random.default_rng(seed).integers(len(members), size=(_REPLICATES, len(members)))
    return [[row for member in one for row in members[member]] for one in drawn]


def with_the_unseen(replicates: Floats, clusters: int, seed: int) -> Floats:
    """Replicates of which those of a slice whose rows never differ are spread by what so few can hide.

    Where all rows are wrong (or right) every resample is too, and the bootstrap would be certain of it. The
    share that goes unseen in ``clusters`` clusters is drawn from its posterior under Jeffreys' prior,
    Beta(1/2, clusters + 1/2) (Brown, Cai & DasGupta, 2001, "Interval estimation for a binomial proportion").

    Args:
        replicates: shape (replicates, slices).
        clusters: of the held-out rows.
        seed: of the draws.
    """
    import numpy as np

    unseen = np.random.default_rng(seed).beta(0.5, clusters + 0.5, size=replicates.shape)
    spread = np.where(replicates < 0.5, replicates + unseen * (1 - replicates), replicates * (1 - unseen))
    return np.where(np.ptp(replicates, axis=0) > 0, replicates, spread)


def is_curve(tokens: Sequence[int]) -> bool:
    """Whether slices of so many tokens can show a curve: at least three, each larger than the last."""
    return len(tokens) >= 3 and all(low < high for low, high in pairwise([0, *tokens]))


def _read_off(sizes: Floats, errors: Floats, target: int) -> Floats:
    """The score that the best-fitting power law gives at ``target``; shape (curves,).

    Args:
        sizes: tokens of the slices, shape (slices,).
        errors: shape (curves, slices).
        target: tokens.
    """
    import numpy as np

    scale = sizes[-1]  # so that b is of the size of an error
    exponents = np.linspace(*_EXPONENTS)
    falling = (sizes / scale) ** -exponents[:, None]
    a, b, misfit = _non_negative_lines(falling, errors)
    best = misfit.argmin(axis=1)
    curves = np.arange(len(errors))
    ends = a + b * (target / scale) ** -exponents
    return np.asarray(np.clip(1 - ends[curves, best], 0.0, 1.0))


def _non_negative_lines(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares of ``y = a + b x`` with a, b >= 0, for every x and y: a, b and the squared error.

    With two unknowns it has a closed form: the free solution where both are positive, else the better of the
    two that hold one of them at zero. Shapes: x (exponents, slices), y (curves, slices), results (curves,
    exponents).
    """
    import numpy as np

    n, sum_x, sum_xx = x.shape[1], x.sum(axis=1), (x**2).sum(axis=1)
    sum_y, sum_xy = y.sum(axis=1)[:, None], y @ x.T
    slope = (n * sum_xy - sum_x * sum_y) / (n * sum_xx - sum_x**2)
    free = ((sum_y - slope * sum_x) / n, slope)
    through_zero = (np.zeros_like(slope), np.maximum(sum_xy / sum_xx, 0.0))
    flat = (np.broadcast_to(sum_y / n, slope.shape), np.zeros_like(slope))

    def misfit(a: Floats, b: Floats) -> Floats:
        return np.asarray(((y[:, None] - a[..., None] - b[..., None] * x) ** 2).sum(axis=-1))

    bound = misfit(*through_zero) < misfit(*flat)
    inside = (free[0] >= 0) & (free[1] >= 0)
    a, b = (
        np.where(inside, f, np.where(bound, z, c)) for f, z, c in zip(free, through_zero, flat, strict=True)
    )
    return a, b, misfit(a, b)
