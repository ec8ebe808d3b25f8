"""The decided rung on each kind of case, beside the rung that one would have instead."""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.evaluation.multiplicity import holm
from stepladder.evaluation.records import Outcome
from stepladder.evaluation.summary import compare_outcomes, ordered
from stepladder.ladder.evidence import Evidence
from stepladder.ladder.form import Slices, SliceVerdict
from stepladder.ladder.weigh import Weighed, asked_alike


def weigh_slices(weighed: Weighed, rung: str, evidence: Evidence) -> Slices | None:
    """``rung`` minus the champion, or else minus the best other rung, by slice; p-values by Holm.

    Returns:
        None where there is nothing to weigh it against, or one slice only.
    """
    other, rows = _other(weighed, rung, evidence)
    names = sorted({outcome.slice for outcome in rows})
    if len(names) < 2:
        return None
    mine = asked_alike(weighed.rows[rung], rows)
    pairs = [compare_outcomes(_part(mine, name), _part(rows, name), evidence.how) for name in names]
    compared = [pair.comparison(evidence.evaluation.confidence) for pair in pairs]
    adjusted = holm([one.p for one in compared])
    table = {}
    for name, one, p in zip(names, compared, adjusted, strict=True):
        low, high = one.interval.low, one.interval.high
        table[name] = SliceVerdict(
            n=len(_part(rows, name)),
            difference=round(one.difference, 6),
            interval=None if low is None or high is None else (round(low, 6), round(high, 6)),
            p=round(p, 6),
        )
    return Slices(a=rung, b=other, by_slice=table)


def _other(weighed: Weighed, rung: str, evidence: Evidence) -> tuple[str, Sequence[Outcome]]:
    if evidence.champion is not None:
        return "champion", ordered(evidence.champion)
    others = [name for name in weighed.order if name != rung]
    if not others:
        return "", []
    best = max(others, key=lambda name: weighed.asked[name].score.estimate)
    return best, weighed.rows[best]


def _part(rows: Sequence[Outcome], name: str) -> list[Outcome]:
    return [outcome for outcome in rows if outcome.slice == name]
