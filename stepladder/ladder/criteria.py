"""What a rung must be shown to meet: its bar and guardrails, each as a question with p-values.

Every guardrail is asked as the bar is: with a bound, not a point. A p95 latency holds when at least 95% of
the requests are shown to stay within it, which is exact for any distribution of latencies (the sign test for
a quantile; Conover, 1999, "Practical Nonparametric Statistics"). Forgetting is asked of the general items: a
bootstrap of the rise in log-perplexity, paired by item. The cost cap (a price) has no cases to bound it
with: it is held as measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepladder.evaluation.bootstrap import Bootstrapped, bootstrap_rise
from stepladder.evaluation.intervals import Score, score_of
from stepladder.evaluation.judged import Corrected
from stepladder.evaluation.power import MOST_CASES, SMALLEST_GAP, cases_for_share
from stepladder.evaluation.proportions import proportion
from stepladder.evaluation.records import Outcome
from stepladder.evaluation.resampling import Resampling
from stepladder.evaluation.summary import statistic_of, values_of
from stepladder.evaluation.usage import timed_alike
from stepladder.ladder.form import DIGITS, Criterion, CriterionName, State
from stepladder.tasks import Bars
from stepladder.tuning.forgetting import Forgetting

ADAPTER_RUNGS = ("lora", "lora+rag")
_WITHIN_P95 = 0.95


@dataclass(frozen=True)
class Bounded:
    """A question about a share or score that must be at least ``limit``, asked of ``cases`` cases."""

    name: CriterionName
    limit: float
    score: Score
    cases: int

    @property
    def p_holds(self) -> float:
        """Against "it is missed"; nothing misses a bar of 0."""
        return self.score.p_at_most(self.limit) if self.limit > 0 else 0.0

    @property
    def p_fails(self) -> float:
        """Against "it is met"."""
        return self.score.p_at_least(self.limit) if self.limit > 0 else 1.0

    @property
    def promising(self) -> bool:
        """Whether the estimate, if not the bound, meets the limit."""
        return self.score.estimate >= self.limit

    def cases_needed(self, level: float, power: float, of: int) -> int | None:
        """Of ``of`` cases in all, how many would answer it if the estimate stays as it is.

        None where nobody could collect as many: a judge's labels are too few, or one cluster is too large.
        """
        inside = 1 / (2 * self.cases)  # a share of 0 or 1 is not known to be just that
        share = min(max(self.score.estimate, inside), 1 - inside)
        effect = self.score.sd**2 / (share * (1 - share))
        if abs(share - self.limit) < SMALLEST_GAP:
            share = self.limit + (SMALLEST_GAP if self.limit < 0.5 else -SMALLEST_GAP)
        if isinstance(self.score, Corrected):
            needed = self.score.cases_to_tell(share, self.limit, power=power, alpha=level)
        else:
            needed = cases_for_share(share, self.limit, effect=effect, power=power, alpha=level)
        if needed is None or needed > MOST_CASES:
            return None
        return max(of + 1, round(needed * of / self.cases))

    @property
    def few_labels(self) -> bool:
        """Whether a judge's labels leave more error than cases without end, or as good as that, would."""
        return self.score.fixed > self.score.sd**2 / MOST_CASES

    def answered(self, level: float, shown_failing: bool) -> Criterion:
        """For the record."""
        bound = self.score.lower(level)
        return Criterion(
            name=self.name,
            limit=self.limit,
            estimate=round(self.score.estimate, DIGITS),
            bound=None if bound is None else round(bound, DIGITS),
            p=round(self.p_holds, DIGITS),
            state=_state(self.p_holds <= level, shown_failing),
            cases=self.cases,
        )


@dataclass(frozen=True)
class Risen:
    """A rise in perplexity that must be at most ``limit``, asked of general items and not of the cases.

    ``rise``: in log-perplexity, with its bootstrap over the items.
    """

    name: CriterionName
    limit: float
    rise: Bootstrapped

    @property
    def p_holds(self) -> float:
        """Against "it rises by more"; where every item rises alike there is no error to reckon with."""
        if self._exact:
            return float(not self.promising)
        return self.rise.p_at_least(math.log1p(self.limit))

    @property
    def p_fails(self) -> float:
        """Against "it rises by no more"."""
        if self._exact:
            return float(self.promising)
        return self.rise.p_at_most(math.log1p(self.limit))

    @property
    def promising(self) -> bool:
        """Whether the estimate, if not the bound, meets the limit."""
        return self.rise.estimate <= math.log1p(self.limit)

    @property
    def _exact(self) -> bool:
        return self.rise.clusters > 1 and self.rise.standard_error == 0

    def ends(self, confidence: float) -> tuple[float, float] | None:
        """The two-sided interval of the relative rise; None for a single item."""
        tail = (1 - confidence) / 2
        low, high = self.rise.lower(tail), self.rise.upper(tail)
        if self._exact:
            low = high = self.rise.estimate
        return None if low is None or high is None else (math.expm1(low), math.expm1(high))

    def cases_needed(self, _level: float, _power: float, _of: int) -> None:
        """None: no number of the task's cases answers it."""

    def answered(self, level: float, shown_failing: bool) -> Criterion:
        """For the record; the bound is an upper one."""
        bound = self.rise.estimate if self._exact else self.rise.upper(level)
        return Criterion(
            name=self.name,
            limit=self.limit,
            estimate=round(math.expm1(self.rise.estimate), DIGITS),
            bound=None if bound is None else round(math.expm1(bound), DIGITS),
            p=round(self.p_holds, DIGITS),
            state=_state(self.p_holds <= level, shown_failing),
            cases=self.rise.cases,
        )


@dataclass(frozen=True)
class Measured:
    """A question held as measured: at most ``limit``; ``estimate`` is None where it was not measured."""

    name: CriterionName
    limit: float
    estimate: float | None

    @property
    def p_holds(self) -> float:
        """0 where it holds, else 1: there is no error to reckon with."""
        return 0.0 if self.estimate is not None and self.estimate <= self.limit else 1.0

    @property
    def p_fails(self) -> float:
        """0 where it is measured and broken, else 1."""
        return 0.0 if self.estimate is not None and self.estimate > self.limit else 1.0

    def answered(self) -> Criterion:
        """For the record."""
        return Criterion(
            name=self.name,
            limit=self.limit,
            estimate=None if self.estimate is None else round(self.estimate, DIGITS),
            bound=None,
            p=None,
            state=_state(self.p_holds == 0, self.p_fails == 0),
            cases=None,
        )


@dataclass(frozen=True)
class Asked:
    """All that is asked of one rung; the bar on the score comes first."""

    first: Bounded
    others: tuple[Bounded | Risen, ...]
    measured: tuple[Measured, ...]

    def held_to(self, bar: float, cost_per_1000: float) -> Asked:
        """The same with another bar on the score, at another cost (US dollars): nothing is computed anew."""
        measured = [
            replace(one, estimate=cost_per_1000) if one.name == "cost" else one for one in self.measured
        ]
        return Asked(replace(self.first, limit=bar), self.others, tuple(measured))

    @property
    def score(self) -> Score:
        """The score with its error."""
        return self.first.score

    @property
    def bounded(self) -> tuple[Bounded | Risen, ...]:
        """What is held on a bound; the bar on the score comes first."""
        return (self.first, *self.others)

    @property
    def questions(self) -> tuple[Bounded | Risen | Measured, ...]:
        """All of them."""
        return (*self.bounded, *self.measured)

    @property
    def p_holds(self) -> float:
        """Against "something is missed": all must hold, so no adjustment is due (Berger, 1982)."""
        return max(question.p_holds for question in self.questions)

    @property
    def p_fails(self) -> tuple[float, ...]:
        """Against "this one is met", for each that could be shown to fail."""
        broken = [0.0 for question in self.measured if question.p_fails == 0]
        return (*(question.p_fails for question in self.bounded), *broken)

    @property
    def all_measured(self) -> bool:
        """Whether what is held as measured is met."""
        return all(question.p_holds == 0 for question in self.measured)


def ask(
    rung: str,
    outcomes: Sequence[Outcome],
    bars: Bars,
    how: Resampling,
    forgetting: Forgetting | float | None,
    cost_per_1000: float,
) -> Asked:
    """The questions of a task's bars to one rung.

    Args:
        rung: its name; adapters are asked what they forget.
        outcomes: of all cases, by id.
        bars: the limits.
        how: resampling.
        forgetting: of the adapter, or only its relative rise in perplexity where the items were not kept;
            None where it was not measured.
        cost_per_1000: US dollars.
    """
    statistic = statistic_of(outcomes)
    score = score_of(values_of(outcomes, statistic), [o.cluster for o in outcomes], statistic, how)
    bounded: list[Bounded | Risen] = []
    shares: list[tuple[CriterionName, float | None, list[tuple[bool, str]]]] = [
        ("abstention", bars.abstention, [(o.score == 1, o.cluster) for o in outcomes if not o.answerable]),
        ("valid", bars.valid, [(o.valid, o.cluster) for o in outcomes]),
        ("latency", _latency_share(bars), [(_in_time(o, bars), o.cluster) for o in timed_alike(outcomes)]),
    ]
    measured = []
    for name, limit, rows in shares:
        if limit is not None and not rows:  # no case speaks to it: open, not met by default
            measured.append(Measured(name, limit, None))
        elif limit is not None:
            share = proportion([float(right) for right, _ in rows], [cluster for _, cluster in rows])
            bounded.append(Bounded(name, limit, share, len(rows)))
    if rung in ADAPTER_RUNGS:
        lost = forgotten(forgetting, bars.forgetting, how)
        if isinstance(lost, Risen):
            bounded.append(lost)
        else:
            measured.append(lost)
    if bars.cost_per_1000 is not None:
        measured.append(Measured("cost", bars.cost_per_1000, cost_per_1000))
    return Asked(Bounded("score", bars.score, score, len(outcomes)), tuple(bounded), tuple(measured))


def forgotten(forgetting: Forgetting | float | None, limit: float, how: Resampling) -> Risen | Measured:
    """The guardrail on what an adapter forgets; held as measured where the items were not kept."""
    import numpy as np

    if not isinstance(forgetting, Forgetting):
        return Measured("forgetting", limit, forgetting)
    if not forgetting.pairs:
        return Measured("forgetting", limit, forgetting.relative_rise)
    before, after = (
        np.array([(one.loss, one.tokens) for one in side], dtype=np.float64)
        for side in ([pair.before for pair in forgetting.pairs], [pair.after for pair in forgetting.pairs])
    )
    return Risen("forgetting", limit, bootstrap_rise(before, after, how))


def _latency_share(bars: Bars) -> float | None:
    return None if bars.latency_p95_ms is None else _WITHIN_P95


def _in_time(outcome: Outcome, bars: Bars) -> bool:
    return bars.latency_p95_ms is None or outcome.latency_ms <= bars.latency_p95_ms


def _state(holds: bool, fails: bool) -> State:
    if holds:
        return "holds"
    return "fails" if fails else "open"
