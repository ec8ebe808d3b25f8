"""Scores that a judge gave, corrected for its errors: the share that people would call right.

A judge calls some wrong answers right and some right ones wrong. With its sensitivity and specificity, as
labels by people show them, the true share is (share called right + specificity - 1) / (sensitivity +
specificity - 1) (Rogan & Gladen, 1978, "Estimating prevalence from the results of a screening test"). Its
bounds reckon with the errors of all three shares: Lang & Reiczigel, 2014, "Confidence limits for prevalence
of disease adjusted for estimated sensitivity and specificity", who add pseudo-counts so that they hold near 0
and 1 too. A difference between two rungs is the difference called right over (sensitivity + specificity - 1);
tests of it against a margin are Fieller's (1954, "Some problems in interval estimation").

Assumed: the judge errs as often on every rung. Labels of answers from all rungs are what that rests on.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

from stepladder.evaluation.power import MOST_CASES
from stepladder.evaluation.proportions import Interval, Proportion, undefined
from stepladder.evaluation.resampling import JudgeErrors
from stepladder.evaluation.tango import Discordance, standardised

_WIDEST, _STEPS = 6.0, 60  # standard errors: beyond them no p-value is told


def youden(errors: JudgeErrors) -> float:
    """Sensitivity + specificity - 1, of which a judge that guesses has 0 (Youden, 1950)."""
    return errors.sensitivity + errors.specificity - 1


def _youden_variance(errors: JudgeErrors) -> float:
    return _variance(errors.sensitivity, errors.right) + _variance(errors.specificity, errors.wrong)


def corrected_share(called: float, errors: JudgeErrors) -> float:
    """The share that people would call right, of the one that a judge calls right (Rogan & Gladen, 1978)."""
    return min(1.0, max(0.0, (called + errors.specificity - 1) / youden(errors)))


@dataclass(frozen=True)
class Corrected:
    """A share called right by a judge, as the share that people would call right."""

    called: Proportion
    errors: JudgeErrors

    @property
    def estimate(self) -> float:
        """The corrected share."""
        return corrected_share(self.called.estimate, self.errors)

    @property
    def design_effect(self) -> float:
        """How many times more cases are needed than if they were independent: of the clusters alone."""
        return self.called.design_effect

    @property
    def sd(self) -> float:
        """Standard error times the root of the number of cases: of the cases alone, not of the labels."""
        _, called, index, _ = self._adjusted(1.0)
        return math.sqrt(called * (1 - called) / (self.called.effective + 1) * self.called.cases) / index

    @property
    def fixed(self) -> float:
        """The variance that the labels leave, whatever the number of cases."""
        share, _, index, _ = self._adjusted(1.0)
        return self._of_labels(share) / index**2

    def p_at_most(self, limit: float) -> float:
        """Against "the true share is at most ``limit``": the tail whose lower bound is the limit."""
        from scipy import optimize, special

        if not self.called.defined or self._end(0.0) <= limit:
            return 1.0
        # Far out the shift of the middle outgrows the width: the first crossing counts.
        for step in range(1, _STEPS + 1):
            z = step * _WIDEST / _STEPS
            if self._end(z) <= limit:
                crossing = optimize.brentq(lambda z: self._end(z) - limit, z - _WIDEST / _STEPS, z)
                return float(special.ndtr(-crossing))
        return float(special.ndtr(-_WIDEST))

    def p_at_least(self, limit: float) -> float:
        """Against "the true share is at least ``limit``"."""
        return self.mirrored().p_at_most(1 - limit)

    def cases_to_tell(self, share: float, limit: float, *, power: float, alpha: float) -> int | None:
        """Cases with which a true ``share`` is told from ``limit``, either way round; None: no number does.

        As many, up to ``MOST_CASES``, as put the bound beyond the limit by as many standard errors as the
        power asks for. Labels stay as they are, which is why there may be none.
        """
        from scipy import special

        if share < limit:
            return self.mirrored().cases_to_tell(1 - share, 1 - limit, power=power, alpha=alpha)
        z_alpha, z_power = -float(special.ndtri(alpha)), float(special.ndtri(power))
        called = share * youden(self.errors) + 1 - self.errors.specificity

        def told(cases: int) -> bool:
            size = cases / self.design_effect
            one = replace(self, called=replace(self.called, estimate=called, cases=cases, effective=size))
            error = math.sqrt(one.sd**2 / cases + one.fixed)
            return one._end(z_alpha) - z_power * error >= limit

        return bisect_left(range(MOST_CASES), True, key=told) if told(MOST_CASES) else None

    def lower(self, tail: float) -> float | None:
        """One-sided lower bound at confidence ``1 - tail``; None where undefined."""
        from scipy import special

        if not self.called.defined:
            return None
        return min(1.0, max(0.0, self._end(-float(special.ndtri(tail)))))

    def interval(self, confidence: float) -> Interval:
        """Two-sided."""
        low, high = (side.lower((1 - confidence) / 2) for side in (self, self.mirrored()))
        if low is None or high is None:
            return undefined(self.estimate, confidence)
        method = "Lang-Reiczigel, corrected for the judge's errors"
        return Interval(estimate=self.estimate, low=low, high=1 - high, confidence=confidence, method=method)

    def mirrored(self) -> Corrected:
        """The share that people would call wrong."""
        called, errors = self.called, self.errors
        turned = JudgeErrors(
            sensitivity=errors.specificity, right=errors.wrong,
            specificity=errors.sensitivity, wrong=errors.right,
        )  # fmt: skip
        return Corrected(replace(called, estimate=1 - called.estimate), turned)

    def _end(self, z: float) -> float:
        share, _, _, shift = self._adjusted(z)
        return share + shift - self._half(z)

    def _half(self, z: float) -> float:
        """Half the width at z standard errors, z > 0."""
        share, called, index, _ = self._adjusted(z)
        variance = called * (1 - called) / (self.called.effective + z**2) + self._of_labels(share)
        return z * math.sqrt(max(variance, 0.0)) / index

    def _of_labels(self, share: float) -> float:
        """What the labels add to the variance of the share called right, where ``share`` are right."""
        right = share**2 * _variance(self.errors.sensitivity, self.errors.right)
        return right + (1 - share) ** 2 * _variance(self.errors.specificity, self.errors.wrong)

    def _adjusted(self, z: float) -> tuple[float, float, float, float]:
        """Corrected share, share called right, Youden's index, and the shift of the middle, at z."""
        n, errors = self.called.effective, self.errors
        called = (n * self.called.estimate + z**2 / 2) / (n + z**2)
        sensitivity = _shrunk(errors.sensitivity, errors.right)
        specificity = _shrunk(errors.specificity, errors.wrong)
        index = sensitivity + specificity - 1
        share = (called + specificity - 1) / index
        shift = share * _variance(errors.sensitivity, errors.right)
        shift -= (1 - share) * _variance(errors.specificity, errors.wrong)
        return share, called, index, 2 * z**2 * shift


def _shrunk(share: float, size: float) -> float:
    return (share * size + 1) / (size + 2)


def _variance(share: float, size: float) -> float:
    shrunk = _shrunk(share, size)
    return shrunk * (1 - shrunk) / (size + 2)


@dataclass(frozen=True)
class CorrectedDifference:
    """A paired difference of shares called right, as that of the shares that people would call right.

    Against 0 the judge's errors do not matter, whatever they are: nothing is corrected there.
    """

    called: Discordance
    errors: JudgeErrors

    @property
    def estimate(self) -> float:
        """The corrected difference, within -1 and 1."""
        difference = (self.called.only_first - self.called.only_second) / self.called.cases
        return min(1.0, max(-1.0, difference / youden(self.errors)))

    @property
    def sd(self) -> float:
        """Standard error times the root of the number of cases: of the cases alone, not of the labels."""
        return self.called.sd / youden(self.errors)

    def fixed_at(self, difference: float) -> float:
        """The variance that the labels leave where that is the true difference; none where there is none."""
        return difference**2 * _youden_variance(self.errors) / youden(self.errors) ** 2

    def p_at_most(self, limit: float) -> float:
        """Against "the true difference is at most ``limit``"."""
        return self.called.tail(-self._statistic(limit))

    def p_at_least(self, limit: float) -> float:
        """Against "the true difference is at least ``limit``"."""
        return self.called.tail(self._statistic(limit))

    def interval(self, confidence: float) -> Interval:
        """Two-sided: the differences that are not rejected."""
        from scipy import optimize

        if self.called.degrees == 0:
            return undefined(self.estimate, confidence)
        tail = (1 - confidence) / 2
        ends = []
        for test, edge in ((self.p_at_most, -1.0), (self.p_at_least, 1.0)):
            rejected = test(edge) < tail < test(self.estimate)
            ends.append(
                float(optimize.brentq(lambda d, t=test: t(d) - tail, edge, self.estimate))
                if rejected
                else edge
            )
        method = "Fieller, corrected for the judge's errors"
        return Interval(
            estimate=self.estimate, low=ends[0], high=ends[1], confidence=confidence, method=method
        )

    def mirrored(self) -> CorrectedDifference:
        """Of the difference the other way round."""
        return replace(self, called=self.called.mirrored())

    def _statistic(self, limit: float) -> float:
        """Tango's, with the error of Youden's index beside that of the counts."""
        excess, variance = self.called.at(max(-1.0, min(1.0, limit * youden(self.errors))))
        variance += (self.called.cases * limit) ** 2 * _youden_variance(self.errors)
        return standardised(excess, variance)
