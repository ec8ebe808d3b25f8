"""Where a verdict is inconclusive: which questions are open, and how many cases would close them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stepladder.evaluation.pairs import Pair
from stepladder.evaluation.power import MOST_CASES, SMALLEST_GAP, cases_needed, room_for_cases, sd_at_margin
from stepladder.ladder.criteria import Bounded
from stepladder.ladder.evidence import Evidence
from stepladder.ladder.rule import rivals, ways_to_leave
from stepladder.ladder.weigh import Weighed


@dataclass(frozen=True)
class Settled:
    """What is open, in plain words, and the cases (all, not further) that would settle it; None: unknown.

    ``labels``: no number of cases would, before a judge's labels are more.
    """

    open: list[str]
    cases: int | None
    labels: bool = False


def settle(weighed: Weighed, evidence: Evidence) -> Settled:
    """The open questions of the rung where the walk ended, if it ended on one.

    The number is of cases like these with which, if every estimate stays as it is, each open question that
    stands in the way of promoting the rung, or of leaving it, would be answered with the power of
    ``evaluation.power``, whichever takes fewer. All of them together have somewhat less.
    """
    rung = weighed.walk.stuck
    if rung is None:
        return Settled([], None)
    ways = [_cases_to_stop(weighed, rung, evidence), _cases_to_leave(weighed, rung, evidence)]
    known = [cases for cases in ways if cases is not None and cases <= MOST_CASES]
    return Settled(
        open=_open(weighed, rung),
        cases=max(weighed.cases() + 1, min(known)) if known else None,
        labels=not known and _labels_are_few(weighed, rung, evidence),
    )


def fresh_cases(weighed: Weighed, evidence: Evidence) -> int:
    """New cases that would decide as sharply as the margin asks: they take the place of a worn set.

    As many as show a score by the margin above the bar, and two rungs that are as good to be so. What a
    judge's labels leave open, no case tells.
    """
    margin, level, power = evidence.spec.margin, weighed.walk.level, evidence.evaluation.power
    best = max(weighed.order, key=lambda rung: weighed.asked[rung].score.estimate)
    beside = [pair.sd for rungs, pair in weighed.pairs.items() if best in rungs]
    spreads = [weighed.asked[best].score.sd, *([max(min(beside), sd_at_margin(margin))] if beside else [])]
    return max(cases_needed(margin, sd=sd, power=power, alpha=level) for sd in spreads)


def _open(weighed: Weighed, rung: str) -> list[str]:
    level = weighed.walk.level
    missing = [question.name for question in weighed.asked[rung].questions if question.p_holds > level]
    if missing:
        return [f"whether {rung} is good enough ({', '.join(missing)})"]
    return [
        f"whether {dearer} is worth its price over {rung}"
        for dearer in _rivals(weighed, rung)
        if weighed.ladder.as_good[dearer, rung] > level
    ]


def _labels_are_few(weighed: Weighed, rung: str, evidence: Evidence) -> bool:
    level, power = weighed.walk.level, evidence.evaluation.power
    scores = (
        question.few_labels and question.cases_needed(level, power, weighed.cases()) is None
        for question in weighed.asked[rung].bounded
        if isinstance(question, Bounded) and question.p_holds > level
    )
    pairs = (
        _room_at_margin(weighed.pairs[dearer, rung], level, evidence) <= 0
        for dearer in _rivals(weighed, rung)
        if weighed.ladder.as_good[dearer, rung] > level
    )
    return any(scores) or any(pairs)


def _room_at_margin(pair: Pair, level: float, evidence: Evidence) -> float:
    margin = evidence.spec.margin
    gap = max(margin - pair.difference, SMALLEST_GAP)
    power = evidence.evaluation.power
    return room_for_cases(gap, pair.error.fixed_at(margin), power=power, alpha=level)


def _rivals(weighed: Weighed, rung: str) -> list[str]:
    return rivals(weighed.ladder, rung, weighed.walk.out)


def _cases_to_stop(weighed: Weighed, rung: str, evidence: Evidence) -> int | None:
    """None where the estimates speak against stopping here."""
    asked, level, power = weighed.asked[rung], weighed.walk.level, evidence.evaluation.power
    if not asked.all_measured or asked.score.lower(level) is None:
        return None
    needed = [weighed.cases() + 1]
    for question in asked.bounded:
        if question.p_holds > level:
            more = question.cases_needed(level, power, weighed.cases())
            if more is None or not question.promising:
                return None
            needed.append(more)
    for dearer in _rivals(weighed, rung):
        pair = weighed.pairs[dearer, rung]
        if weighed.ladder.as_good[dearer, rung] > level:
            room = _room_at_margin(pair, level, evidence)
            if pair.difference >= evidence.spec.margin or room <= 0:
                return None
            gap = max(evidence.spec.margin - pair.difference, SMALLEST_GAP)
            sd = max(pair.sd, sd_at_margin(evidence.spec.margin)) / math.sqrt(room)
            needed.append(cases_needed(gap, sd=sd, power=power, alpha=level))
    return max(needed)


def _cases_to_leave(weighed: Weighed, rung: str, evidence: Evidence) -> int | None:
    """None where the estimates speak against leaving."""
    asked, power, cases = weighed.asked[rung], evidence.evaluation.power, weighed.cases()
    level = weighed.walk.level / ways_to_leave(weighed.ladder, rung, weighed.walk.out)
    if asked.score.lower(level) is None:
        return None
    ways = [
        more
        for question in asked.bounded
        if not question.promising
        and (more := question.cases_needed(level / len(asked.p_fails), power, cases)) is not None
    ]
    for dearer in _rivals(weighed, rung):
        pair, better = weighed.pairs[dearer, rung], weighed.asked[dearer]
        if pair.difference > 0 and better.all_measured and all(q.promising for q in better.bounded):
            gap = max(pair.difference, SMALLEST_GAP)
            held = [q.cases_needed(level, power, cases) for q in better.bounded if q.p_holds > level]
            known = [more for more in held if more is not None]
            if len(known) == len(held):
                ways.append(max([cases_needed(gap, sd=pair.sd, power=power, alpha=level), *known]))
    return min(ways, default=None)
