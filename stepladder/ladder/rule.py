"""The rule on p-values alone: walk up the ladder from the cheapest rung.

At each rung there are three answers. *Stop*, and promote it: it is shown to meet its bar and guardrails, and
shown to be no worse, by the margin, than any dearer rung that is not out of the question. *Leave* it: it is
shown to fail, or a dearer rung that is itself shown to be good enough is shown to be better. Else nothing
is settled, and the walk ends there: no dearer rung is promoted while a cheaper one might do.

What is promised: with chance at most alpha is a rung promoted that in truth (a) misses its bar or a
guardrail, or (b) is worse by the margin than a dearer rung that meets them, or (c) is dearer than a rung that
meets them and that no such dearer rung betters; (b) and (c) among the rungs that were run. The proof, in
docs/05-the-rule.md, needs no independence between rungs, cases of one cluster, or questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepladder.evaluation.multiplicity import screening_level, shared_level


@dataclass(frozen=True)
class Ladder:
    """One-sided p-values. Pairs are (dearer, cheaper).

    ``order``: rungs, cheapest first. ``holds``: against "it misses something". ``fails``: against "it meets
    this", for each of its questions. ``better``: against "the dearer is no better". ``as_good``: against "the
    dearer is better by the margin". ``unseen``: rungs that these cases led to skip. ``extra``: further
    questions whose wrong answer promotes wrongly.
    """

    order: Sequence[str]
    holds: Mapping[str, float]
    fails: Mapping[str, Sequence[float]]
    better: Mapping[tuple[str, str], float]
    as_good: Mapping[tuple[str, str], float]
    unseen: int = 0
    extra: int = 0

    def dearer(self, rung: str) -> list[str]:
        """The rungs above one."""
        return list(self.order[self.order.index(rung) + 1 :])


@dataclass(frozen=True)
class Walk:
    """Where the walk ended.

    ``level``: of every single test; ``out``: rungs out of the question, shown at ``screening`` to fail.
    ``promoted`` is where it stopped, ``stuck`` where nothing was settled; both None when every rung was left.
    """

    level: float
    out: frozenset[str]
    screening: float
    promoted: str | None = None
    stuck: str | None = None


def walk(ladder: Ladder, alpha: float) -> Walk:
    """Apply the rule at error rate ``alpha``."""
    screening = screening_level(alpha, sum(len(fails) for fails in ladder.fails.values()))
    worst = {rung: min(ladder.fails[rung]) for rung in ladder.order}
    out = frozenset(rung for rung, p in worst.items() if p <= screening)
    level = shared_level(alpha, [*worst.values(), *([1.0] * ladder.unseen)], screening, ladder.extra)
    for rung in ladder.order:
        if _stops(ladder, rung, out, level):
            return Walk(level, out, screening, promoted=rung)
        if rung not in out and not _leaves(ladder, rung, out, level):
            return Walk(level, out, screening, stuck=rung)
    return Walk(level, out, screening)


def ways_to_leave(ladder: Ladder, rung: str, out: frozenset[str]) -> int:
    """The ways to leave a rung, among which the level is shared: it fails, or a dearer one is better.

    Those out of the question are shown to fail: that they are better is not asked.
    """
    return 1 + len(rivals(ladder, rung, out))


def rivals(ladder: Ladder, rung: str, out: frozenset[str]) -> list[str]:
    """The dearer rungs that are not out of the question."""
    return [dearer for dearer in ladder.dearer(rung) if dearer not in out]


def _stops(ladder: Ladder, rung: str, out: frozenset[str], level: float) -> bool:
    others = rivals(ladder, rung, out)
    return ladder.holds[rung] <= level and all(ladder.as_good[dearer, rung] <= level for dearer in others)


def _leaves(ladder: Ladder, rung: str, out: frozenset[str], level: float) -> bool:
    others = rivals(ladder, rung, out)
    share = level / (1 + len(others))
    fails = len(ladder.fails[rung]) * min(ladder.fails[rung]) <= share
    return fails or any(
        ladder.holds[dearer] <= share and ladder.better[dearer, rung] <= share for dearer in others
    )
