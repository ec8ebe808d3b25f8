"""Two releases on the same cases: the paired difference, and the cases that changed sides."""

from __future__ import annotations

from collections.abc import Callable

from stepladder.errors import StepladderError
from stepladder.evaluation.pairs import Comparison
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.summary import compare, ordered, summarise
from stepladder.settings import Evaluation
from stepladder.tasks import Strict


class ChangedCase(Strict):
    """A case on which two releases score differently."""

    id: str
    slice: str
    input: str
    before: float
    after: float
    before_text: str
    after_text: str


class ReleaseComparison(Strict):
    """``after`` minus ``before``; ``gained`` and ``lost`` hold the largest changes first."""

    before: str
    after: str
    cases: int
    only_before: int
    only_after: int
    score_before: float
    score_after: float
    comparison: Comparison
    gained: list[ChangedCase]
    lost: list[ChangedCase]


def compare_releases(
    before: tuple[str, RungOutcomes],
    after: tuple[str, RungOutcomes],
    evaluation: Evaluation,
    rescore: Callable[[RungOutcomes], RungOutcomes],
    seed: int = 0,
) -> ReleaseComparison:
    """Compare two releases, each given as (name, outcomes), on the cases that both were asked.

    A case counts as the same where its ``identity`` is. ``rescore`` scores the answers of both: the stored
    scores are those of the scorer of each one's day.

    Raises:
        StepladderError: they share no case, or ``rescore`` cannot score one.
    """
    (name_before, one), (name_after, other) = before, after
    left, right = _by_identity(one), _by_identity(other)
    shared = sorted(left.keys() & right.keys())
    if not shared:
        raise StepladderError(
            f"{name_before} and {name_after} share no case: their test sets differ",
            where=one.task,
            remedy="run `stepladder climb` to measure the present data, and compare its release",
        )
    a = rescore(one.model_copy(update={"outcomes": [left[key] for key in shared]}))
    b = rescore(other.model_copy(update={"outcomes": [right[key] for key in shared]}))
    changed = [_changed(x, y) for x, y in zip(ordered(a), ordered(b), strict=True) if x.score != y.score]
    return ReleaseComparison(
        before=name_before,
        after=name_after,
        cases=len(shared),
        only_before=len(left) - len(shared),
        only_after=len(right) - len(shared),
        score_before=_score(a, evaluation, seed),
        score_after=_score(b, evaluation, seed),
        comparison=compare(b, a, evaluation, seed),
        gained=_largest([case for case in changed if case.after > case.before]),
        lost=_largest([case for case in changed if case.after < case.before]),
    )


def _by_identity(outcomes: RungOutcomes) -> dict[tuple[str, str, bool], Outcome]:
    return {one.identity: one for one in ordered(outcomes)}


def _score(outcomes: RungOutcomes, evaluation: Evaluation, seed: int) -> float:
    return summarise(outcomes, evaluation, seed).score


def _changed(before: Outcome, after: Outcome) -> ChangedCase:
    return ChangedCase(
        id=before.id,
        slice=before.slice,
        input=before.input,
        before=before.score,
        after=after.score,
        before_text=before.response.text,
        after_text=after.response.text,
    )


def _largest(changed: list[ChangedCase]) -> list[ChangedCase]:
    return sorted(changed, key=lambda case: (-abs(case.after - case.before), case.id))
