"""Ask every rung what the task asks, compare every two, and walk up the ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from stepladder.evaluation.pairs import Pair
from stepladder.evaluation.records import Outcome
from stepladder.evaluation.summary import compare_outcomes, ordered
from stepladder.ladder.criteria import Asked, ask
from stepladder.ladder.evidence import Evidence, refuse_other_cases, refuse_twins
from stepladder.ladder.rule import Ladder, Walk, walk
from stepladder.tasks import Rung

_LADDER = get_args(Rung)


@dataclass(frozen=True)
class Weighed:
    """``order``: rungs, cheapest first. ``rows`` and ``asked`` are by rung, ``pairs`` by (dearer, cheaper).

    ``champion``: the rung that the walk promotes, minus the champion; None where there is not both.
    """

    order: list[str]
    rows: dict[str, list[Outcome]]
    asked: dict[str, Asked]
    pairs: dict[tuple[str, str], Pair]
    ladder: Ladder
    walk: Walk
    champion: Pair | None

    def cases(self) -> int:
        """How many."""
        return len(self.rows[self.order[0]])


def weigh(evidence: Evidence) -> Weighed:
    """Everything that the rule needs, and where it leads.

    Raises:
        StepladderError: cases differ between rungs, or one stands there twice.
    """
    order = sorted(evidence.outcomes, key=lambda rung: (evidence.costs[rung].per_1000, _step(rung)))
    rows = {rung: ordered(evidence.outcomes[rung]) for rung in order}
    refuse_other_cases(rows, evidence.task)
    refuse_twins(rows[order[0]], evidence.task)
    asked = {rung: _ask(rung, rows[rung], evidence) for rung in order}
    pairs = {
        (dearer, cheaper): compare_outcomes(rows[dearer], rows[cheaper], evidence.how)
        for i, cheaper in enumerate(order)
        for dearer in order[i + 1 :]
    }
    unseen = len(set(evidence.skipped) - set(order))  # these very cases led to skipping them
    ladder = ladder_of(order, asked, pairs, evidence.spec.margin)
    ladder = replace(ladder, unseen=unseen, extra=1 if evidence.champion else 0)
    walked = walk(ladder, evidence.evaluation.alpha)
    champion = _against_champion(walked.promoted, rows, evidence)
    return Weighed(order, rows, asked, pairs, ladder, walked, champion)


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


def replaces(against: Pair, cheaper: bool, margin: float, level: float) -> bool:
    """Whether a rung is shown to be better than the champion, or cheaper and no worse by the margin.

    Args:
        against: the rung minus the champion.
        cheaper: whether the rung costs less; then to be no worse is enough.
        margin: how much worse still counts as no worse.
        level: of the one test that is made.
    """
    return (against.error.p_at_most(-margin) if cheaper else against.p_better) <= level


def asked_alike(rows: Sequence[Outcome], other: Sequence[Outcome]) -> list[Outcome]:
    """Those of the cases that the other was asked too."""
    shared = {outcome.id for outcome in other}
    return [outcome for outcome in rows if outcome.id in shared]


def _ask(rung: str, rows: list[Outcome], evidence: Evidence) -> Asked:
    cost = evidence.costs[rung].per_1000
    return ask(rung, rows, evidence.spec.bars, evidence.how, evidence.forgetting, cost)


def _against_champion(winner: str | None, rows: dict[str, list[Outcome]], evidence: Evidence) -> Pair | None:
    if evidence.champion is None or winner is None:
        return None
    champion = ordered(evidence.champion)
    same = asked_alike(rows[winner], champion)
    refuse_other_cases({winner: same, "the champion": champion}, evidence.task)
    return compare_outcomes(same, champion, evidence.how)


def _step(rung: str) -> int:
    return _LADDER.index(rung) if rung in _LADDER else len(_LADDER)
