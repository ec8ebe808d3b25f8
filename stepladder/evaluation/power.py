"""How many cases are needed: before a climb (``plan``), and to settle what one left open."""

from __future__ import annotations

import math

from stepladder.errors import StepladderError

SMALLEST_GAP = 0.01  # nearer to a limit or margin than this, cases without end would be needed
MOST_CASES = 100_000  # nobody collects more: a larger number is no advice


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


def cases_for_share(share: float, limit: float, *, effect: float = 1.0, power: float, alpha: float) -> int:
    """Cases that an exact one-sided test needs to tell a true ``share`` from ``limit``, either way round.

    The normal approximation with the variances of both, and 1 / difference for exactness (Fleiss, Levin &
    Paik, 2003, "Statistical Methods for Rates and Proportions", chapter 4). ``effect`` is the variance of a
    case's score over that of a share, the design effect included.

    Raises:
        StepladderError: the share is the limit.
    """
    gap = abs(share - limit)
    if gap == 0:
        raise StepladderError(
            "no number of cases can tell a share from itself", remedy="ask for a share beside the limit"
        )
    spread = _normal_quantile(1 - alpha) * math.sqrt(limit * (1 - limit))
    spread += _normal_quantile(power) * math.sqrt(share * (1 - share))
    return max(2, math.ceil(effect * ((spread / gap) ** 2 + 1 / gap)))


def room_for_cases(gap: float, fixed: float, *, power: float, alpha: float) -> float:
    """What is left of the variance with which a ``gap`` is seen, once ``fixed`` is taken off: a share of it.

    ``fixed`` is a variance that more cases do not lessen, such as that of a judge's labels. The a / N beside
    it must be (gap / z)**2 - fixed, z the sum of the two normal quantiles: 1 / share times the cases. 0 or
    less: no number of cases would do.
    """
    z = _normal_quantile(1 - alpha) + _normal_quantile(power)
    return 1 - z**2 * fixed / gap**2


def sd_at_margin(margin: float) -> float:
    """Least standard deviation of a paired difference of scores of 0 and 1 whose mean is ``margin``.

    What a test of the margin has to reckon with where two sides were not seen to differ: that they differ on
    a share ``margin`` of the cases, all in favour of one.
    """
    return math.sqrt(margin * (1 - margin))


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
