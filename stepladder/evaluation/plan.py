"""How many cases a task needs, told before they are written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from stepladder.evaluation.multiplicity import full_level
from stepladder.evaluation.power import cases_for_share, cases_needed
from stepladder.tasks import Strict

ASSUMED_DISCORDANCE = 0.2  # share of cases on which two good rungs differ
ASSUMED_CORRELATION = 0.1  # of scores within a cluster


class Needed(Strict):
    """Cases for one question: ``fewest`` where all rungs beside it are out, ``most`` where none is."""

    fewest: int
    most: int


class Wanted(Strict):
    """What is asked: ``rungs`` the task can stand on share ``alpha``; ``cases`` are those there are."""

    task: str
    bar: float
    margin: float
    power: float
    alpha: float
    rungs: int
    cases: int


class Plan(Strict):
    """Cases with which each question is answered with the given power.

    ``good_enough``: a score that truly lies the margin above the bar is shown to hold it. ``as_good``: a
    cheaper rung that is truly as good as a dearer one is shown to be no worse by the margin. ``better``: a
    dearer rung that is truly better by the margin is shown to be better. ``cases``: the fewest for all three.
    """

    wanted: Wanted
    good_enough: Needed
    as_good: Needed
    better: Needed
    cases: int
    assumptions: list[str]


class Spread(Strict):
    """How much scores vary, clustering included: ``score`` is a variance over that of a share as high.

    ``pair`` is the standard error of a paired difference times the root of the number of cases.
    """

    score: float
    pair: float
    source: str


def assumed_spread(clusters: Sequence[str]) -> Spread:
    """For a task that was not measured yet: scores of 0 and 1, and the usual discordance.

    The design effect is Kish's (1965), 1 + (m - 1) times the correlation, m the mean size of the cluster
    that a case stands in.
    """
    sizes = Counter(clusters)
    size = sum(count**2 for count in sizes.values()) / max(len(clusters), 1)
    effect = 1 + max(size - 1, 0) * ASSUMED_CORRELATION
    return Spread(
        score=effect,
        pair=math.sqrt(ASSUMED_DISCORDANCE * effect),
        source=f"assumed, for want of a verdict: two rungs differ on {ASSUMED_DISCORDANCE:.0%} of the cases,"
        f" scores within a cluster correlate by {ASSUMED_CORRELATION:g}, {size:.1f} cases to a cluster",
    )


def plan(wanted: Wanted, spread: Spread) -> Plan:
    """The cases that each question needs.

    Raises:
        StepladderError: the margin is zero.
    """
    margin, power, alpha, rungs = wanted.margin, wanted.power, wanted.alpha, wanted.rungs
    beside = min(2, rungs)  # to compare two rungs, both must be in the running

    def gate(alpha: float) -> int:
        share = min(wanted.bar + margin, 0.999)
        return cases_for_share(share, wanted.bar, effect=spread.score, power=power, alpha=alpha)

    def pair(alpha: float) -> int:
        return cases_needed(margin, sd=spread.pair, power=power, alpha=alpha)

    questions = [
        Needed(fewest=count(full_level(alpha, sharing) / few), most=count(full_level(alpha, rungs) / many))
        for count, sharing, few, many in (
            (gate, 1, 1, 1),
            (pair, beside, 1, 1),
            (pair, beside, beside, rungs),
        )
    ]
    return Plan(
        wanted=wanted,
        good_enough=questions[0],
        as_good=questions[1],
        better=questions[2],
        cases=max(question.fewest for question in questions),
        assumptions=[spread.source, f"{rungs} rungs share a chance of {alpha:.0%} to promote wrongly"],
    )
