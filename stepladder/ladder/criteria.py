"""What a rung must be shown to meet: its bar and guardrails, each as a question with p-values.

Every guardrail is asked as the bar is: with a bound, not a point. A p95 latency holds when at least 95% of
the requests are shown to stay within it, which is exact for any distribution of latencies (the sign test for
a quantile; Conover, 1999, "Practical Nonparametric Statistics"). Forgetting (one number a training run) and
the cost cap (a price) have no cases to bound them with: they are held as measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepladder.evaluation.intervals import Score, score_of
from stepladder.evaluation.power import SMALLEST_GAP, cases_for_share
from stepladder.evaluation.proportions import proportion
from stepladder.evaluation.records import Outcome
from stepladder.evaluation.resampling import Resampling
from stepladder.evaluation.summary import statistic_of, values_of
from stepladder.ladder.form import DIGITS, Criterion, CriterionName, State
from stepladder.tasks import Bars

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

    def cases_needed(self, level: float, power: float, of: int) -> int:
        """Of ``of`` cases in all, how many would answer it if the estimate stays as it is."""
        inside = 1 / (2 * self.cases)  # a share of 0 or 1 is not known to be just that
        share = min(max(self.score.estimate, inside), 1 - inside)
        effect = self.score.sd**2 / (share * (1 - share))
        if abs(share - self.limit) < SMALLEST_GAP:
            share = self.limit + (SMALLEST_GAP if self.limit < 0.5 else -SMALLEST_GAP)
        needed = cases_for_share(share, self.limit, effect=effect, power=power, alpha=level)
        return max(of + 1, round(needed * of / self.cases))

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

    bounded: tuple[Bounded, ...]
    measured: tuple[Measured, ...]

    def held_to(self, bar: float, cost_per_1000: float) -> Asked:
        """The same with another bar on the score, at another cost (US dollars): nothing is computed anew."""
        score, *others = self.bounded
        measured = [
            replace(one, estimate=cost_per_1000) if one.name == "cost" else one for one in self.measured
        ]
        return Asked((replace(score, limit=bar), *others), tuple(measured))

    @property
    def score(self) -> Score:
        """The score with its error."""
        return self.bounded[0].score

    @property
    def questions(self) -> tuple[Bounded | Measured, ...]:
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
    forgetting: float | None,
    cost_per_1000: float,
) -> Asked:
    """The questions of a task's bars to one rung.

    Args:
        rung: its name; adapters are asked what they forget.
        outcomes: of all cases, by id.
        bars: the limits.
        how: resampling.
        forgetting: relative rise in perplexity of the adapter, None where it was not measured.
        cost_per_1000: US dollars.
    """
    statistic = statistic_of(outcomes)
    score = score_of(values_of(outcomes, statistic), [o.cluster for o in outcomes], statistic, how)
    bounded = [Bounded("score", bars.score, score, len(outcomes))]
    shares: list[tuple[CriterionName, float | None, list[tuple[bool, str]]]] = [
        ("abstention", bars.abstention, [(o.score == 1, o.cluster) for o in outcomes if not o.answerable]),
        ("valid", bars.valid, [(o.valid, o.cluster) for o in outcomes]),
        ("latency", _latency_share(bars), [(_in_time(o, bars), o.cluster) for o in outcomes]),
    ]
    measured = []
    for name, limit, rows in shares:
        if limit is not None and not rows:  # no case speaks to it: open, not met by default
            measured.append(Measured(name, limit, None))
        elif limit is not None:
            share = proportion([float(right) for right, _ in rows], [cluster for _, cluster in rows])
            bounded.append(Bounded(name, limit, share, len(rows)))
    if rung in ADAPTER_RUNGS:
        measured.append(Measured("forgetting", bars.forgetting, forgetting))
    if bars.cost_per_1000 is not None:
        measured.append(Measured("cost", bars.cost_per_1000, cost_per_1000))
    return Asked(tuple(bounded), tuple(measured))


def _latency_share(bars: Bars) -> float | None:
    return None if bars.latency_p95_ms is None else _WITHIN_P95


def _in_time(outcome: Outcome, bars: Bars) -> bool:
    return bars.latency_p95_ms is None or outcome.latency_ms <= bars.latency_p95_ms


def _state(holds: bool, fails: bool) -> State:
    if holds:
        return "holds"
    return "fails" if fails else "open"
