"""Ask every rung what the task asks, compare every two, and walk up the ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import get_args

from stepladder.evaluation.cost import RungCost
from stepladder.evaluation.pairs import Pair
from stepladder.evaluation.records import Outcome
from stepladder.evaluation.summary import compare_outcomes, ordered
from stepladder.ladder.criteria import Asked, ask
from stepladder.ladder.evidence import Evidence, refuse_other_cases, refuse_twins
from stepladder.ladder.form import Decision
from stepladder.ladder.rule import Ladder, Walk, walk
from stepladder.tasks import Rung

_LADDER = get_args(Rung)
LEAST_SAVING = 0.05  # share of the champion's cost from which a rung counts as cheaper: clocks vary


@dataclass(frozen=True)
class Weighed:
    """``order``: rungs, cheapest first. ``rows`` and ``asked`` are by rung, ``pairs`` by (dearer, cheaper).

    ``champion``: the rung that the walk promotes, minus the champion; None where there is not both.
    ``tests``: what all of it was applied to.
    """

    order: list[str]
    rows: dict[str, list[Outcome]]
    asked: dict[str, Asked]
    pairs: dict[tuple[str, str], Pair]
    ladder: Ladder
    walk: Walk
    champion: Pair | None
    tests: Tests

    def cases(self) -> int:
        """How many."""
        return len(self.rows[self.order[0]])


@dataclass(frozen=True)
class Tests:
    """All that is computed from the cases, once: what remains to be applied are limits, prices and the walk.

    ``rows``, ``asked`` and ``against`` are by rung, ``pairs`` by two rungs in the order of the evidence.
    ``against``: minus the champion; filled as winners are weighed against it.
    """

    rows: dict[str, list[Outcome]]
    asked: dict[str, Asked]
    pairs: dict[tuple[str, str], Pair]
    against: dict[str, Pair] = field(default_factory=dict)

    def pair(self, a: str, b: str) -> Pair:
        """``a`` minus ``b``."""
        return self.pairs[a, b] if (a, b) in self.pairs else self.pairs[b, a].mirrored()


def measure(evidence: Evidence) -> Tests:
    """Ask every rung and compare every two: the dear part of a verdict.

    Raises:
        StepladderError: cases differ between rungs, or one stands there twice.
    """
    rungs = list(evidence.outcomes)
    rows = {rung: ordered(evidence.outcomes[rung]) for rung in rungs}
    refuse_other_cases(rows, evidence.task)
    refuse_twins(rows[rungs[0]], evidence.task)
    asked = {rung: _ask(rung, rows[rung], evidence) for rung in rungs}
    pairs = {(a, b): compare_outcomes(rows[a], rows[b], evidence.how) for b, a in combinations(rungs, 2)}
    return Tests(rows, asked, pairs)


def weigh(evidence: Evidence, tests: Tests | None = None) -> Weighed:
    """Everything that the rule needs, and where it leads.

    Args:
        evidence: bars, margin and costs, which may be others than those that ``tests`` was made with.
        tests: of the same cases and rungs; None: computed.

    Raises:
        StepladderError: cases differ between rungs, or one stands there twice.
    """
    tests = tests or measure(evidence)
    order = sorted(evidence.outcomes, key=lambda rung: (evidence.costs[rung].per_1000, _step(rung)))
    bar = evidence.spec.bars.score
    asked = {rung: tests.asked[rung].held_to(bar, evidence.costs[rung].per_1000) for rung in order}
    pairs = {(dearer, cheaper): tests.pair(dearer, cheaper) for cheaper, dearer in combinations(order, 2)}
    unseen = len(set(evidence.skipped) - set(order))  # these very cases led to skipping them
    ladder = ladder_of(order, asked, pairs, evidence.spec.margin)
    ladder = replace(ladder, unseen=unseen, extra=1 if evidence.champion else 0)
    walked = walk(ladder, evidence.evaluation.alpha)
    champion = _against_champion(walked.promoted, tests, evidence)
    rows = {rung: tests.rows[rung] for rung in order}
    return Weighed(order, rows, asked, pairs, ladder, walked, champion, tests)


def decision_of(weighed: Weighed, evidence: Evidence) -> tuple[Decision, str | None]:
    """The decision, and the rung to serve."""
    winner = weighed.walk.promoted
    if winner is None:
        return ("inconclusive" if weighed.walk.stuck else "none"), None
    if evidence.unweighed is not None:
        return "keep", evidence.unweighed.rung
    if weighed.champion is None or evidence.champion is None:
        return "promote", winner
    enough = _cheaper(winner, evidence) or _fresher(winner, evidence)
    if replaces(weighed.champion, enough, evidence.spec.margin, weighed.walk.level):
        return "promote", winner
    return "keep", str(evidence.champion.rung)


def ladder_of(
    order: Sequence[str], asked: Mapping[str, Asked], pairs: Mapping[tuple[str, str], Pair], margin: float
) -> Ladder:
    """What was asked and compared, as p-values; pairs are (dearer, cheaper)."""
    return Ladder(
        order=order,
        holds={rung: one.p_holds for rung, one in asked.items()},
        fails={rung: one.p_fails for rung, one in asked.items()},
        better={rungs: pair.p_better for rungs, pair in pairs.items()},
        as_good={rungs: pair.p_shown_below(margin) for rungs, pair in pairs.items()},
    )


def replaces(against: Pair, as_good_is_enough: bool, margin: float, level: float) -> bool:
    """Whether a rung is shown to better the champion, or, where that is enough, to be no worse by the margin.

    Args:
        against: the rung minus the champion.
        as_good_is_enough: the rung costs less, or answers from documents that the champion does not have.
        margin: how much worse still counts as no worse.
        level: of the one test that is made.
    """
    return (against.error.p_at_most(-margin) if as_good_is_enough else against.p_better) <= level


def asked_alike(rows: Sequence[Outcome], other: Sequence[Outcome]) -> list[Outcome]:
    """Those of the cases that the other was asked too."""
    shared = {outcome.id for outcome in other}
    return [outcome for outcome in rows if outcome.id in shared]


def _ask(rung: str, rows: list[Outcome], evidence: Evidence) -> Asked:
    cost = evidence.costs[rung].per_1000
    return ask(rung, rows, evidence.spec.bars, evidence.how, evidence.forgetting, cost)


def _against_champion(winner: str | None, tests: Tests, evidence: Evidence) -> Pair | None:
    if evidence.champion is None or winner is None:
        return None
    if winner not in tests.against:
        champion = ordered(evidence.champion)
        same = asked_alike(tests.rows[winner], champion)
        refuse_other_cases({winner: same, "the champion": champion}, evidence.task)
        tests.against[winner] = compare_outcomes(same, champion, evidence.how)
    return tests.against[winner]


def _cheaper(winner: str, evidence: Evidence) -> bool:
    """Than the champion itself: a rung of its name in this climb has another prompt, index or adapter.

    Seconds of another machine, or under another load, say nothing about it, nor do a few of one machine.
    """
    own, known = evidence.costs[winner], evidence.champion_cost
    return (
        known is not None and timed_alike(own, known) and own.per_1000 <= (1 - LEAST_SAVING) * known.per_1000
    )


def timed_alike(one: RungCost, other: RungCost) -> bool:
    """Whether two costs rest on the same hardware and load; tokens that are paid for have neither."""
    if one.paid_per_token and other.paid_per_token:
        return True
    if one.usage is None or other.usage is None:
        return one.usage is other.usage
    known = bool(one.usage.hardware) and one.usage.in_flight is not None
    return known and (one.usage.hardware, one.usage.in_flight) == (
        other.usage.hardware,
        other.usage.in_flight,
    )


def _fresher(winner: str, evidence: Evidence) -> bool:
    """Whether it answers from today's documents, and the champion from those of another day.

    The cases cannot show what that is worth: few of them ask about what has just changed.
    """
    return evidence.outdated and winner.endswith("rag")


def _step(rung: str) -> int:
    return _LADDER.index(rung) if rung in _LADDER else len(_LADDER)
