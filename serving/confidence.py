"""A confidence sequence for a mean: an interval that holds at every look, however often one looks.

The predictable plug-in empirical-Bernstein sequence of I. Waudby-Smith and A. Ramdas, "Estimating means of
bounded random variables by betting", Journal of the Royal Statistical Society B 86(1), 2024, theorem 2. For
values in [0, 1], bets ``l_t`` and guesses ``g_t`` of the mean that depend on earlier values alone::

    sum(l_t x_t) / sum(l_t)  +-  (log(2 / alpha) + sum(4 (x_t - g_t)^2 psi(l_t))) / sum(l_t)
    psi(l) = (-log(1 - l) - l) / 4

covers the mean at all times at once with probability ``1 - alpha``. Where the mean moves, it covers its
average weighted by the bets: the supermartingale behind it asks for no constant mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_MOST_BET = 0.5  # the authors': larger ones gain little and risk much


@dataclass(frozen=True)
class Interval:
    """``low`` to ``high``, around ``middle``, after ``count`` values."""

    low: float
    high: float
    middle: float
    count: int


class ConfidenceSequence:
    """Takes values in ``[least, most]`` one after another; tells the interval for their mean at any time."""

    def __init__(self, least: float, most: float, alpha: float) -> None:
        self._least = least
        self._range = most - least
        self._spent = math.log(2 / alpha)
        self._count = 0
        self._bets = 0.0
        self._won = 0.0
        self._price = 0.0
        # A half and a quarter: what is guessed before anything was seen.
        self._sum = 0.5
        self._squares = 0.25

    def add(self, value: float) -> None:
        """Take the next value."""
        x = (value - self._least) / self._range
        self._count += 1
        seen = self._count  # with the one that is made up
        guess = self._sum / seen
        variance = self._squares / seen
        bet = min(
            _MOST_BET, math.sqrt(2 * self._spent / (variance * self._count * math.log(1 + self._count)))
        )
        self._bets += bet
        self._won += bet * x
        self._price += 4 * (x - guess) ** 2 * (-math.log(1 - bet) - bet) / 4
        self._sum += x
        self._squares += (x - self._sum / (self._count + 1)) ** 2

    def interval(self) -> Interval:
        """Where the mean is, as of now."""
        if not self._count:
            return Interval(self._least, self._least + self._range, self._least + self._range / 2, 0)
        middle, half = self._won / self._bets, (self._spent + self._price) / self._bets
        low, high = max(0.0, middle - half), min(1.0, middle + half)
        scaled = [self._least + self._range * x for x in (low, high, middle)]
        return Interval(scaled[0], scaled[1], scaled[2], self._count)
