"""One rung's outcomes in numbers: score with its interval, slices, guardrails, latency and tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepladder.errors import StepladderError
from stepladder.evaluation.intervals import score_of
from stepladder.evaluation.pairs import Comparison, Pair, pair_of
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.resampling import Resampling, Statistic
from stepladder.evaluation.usage import timed_alike
from stepladder.settings import Evaluation
from stepladder.tasks import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SliceSummary(Strict):
    """The score on one slice of the cases."""

    n: int
    score: float
    interval: Interval


class RungSummary(Strict):
    """What one rung (or probe) reached on one set of cases. Times are of the measured run."""

    rung: str
    variant: str
    statistic: Statistic
    n: int
    clusters: int
    score: float
    interval: Interval
    exact_rate: float
    valid_rate: float
    abstention_accuracy: float | None
    slices: dict[str, SliceSummary]
    latency_p50_ms: float
    latency_p95_ms: float
    prompt_tokens_mean: float
    completion_tokens_mean: float


def summarise(rung: RungOutcomes, evaluation: Evaluation, seed: int = 0) -> RungSummary:
    """Summary of a rung's outcomes; it does not depend on the order of the cases.

    ``abstention_accuracy`` is the mean score on the unanswerable cases, None where there are none.

    Raises:
        StepladderError: there are no outcomes, or one case stands there twice.
    """
    import numpy as np

    outcomes = ordered(rung)
    statistic = statistic_of(outcomes)
    clusters = [o.cluster for o in outcomes]
    how = resampling(evaluation, seed, rung)
    score = score_of(values_of(outcomes, statistic), clusters, statistic, how)
    unanswerable = [o.score for o in outcomes if not o.answerable]
    p50, p95 = np.percentile([o.latency_ms for o in timed_alike(outcomes)], [50, 95])
    return RungSummary(
        rung=rung.rung,
        variant=rung.variant,
        statistic=statistic,
        n=len(outcomes),
        clusters=len(set(clusters)),
        score=score.estimate,
        interval=score.interval(how.confidence),
        exact_rate=float(np.mean([o.exact for o in outcomes])),
        valid_rate=float(np.mean([o.valid for o in outcomes])),
        abstention_accuracy=float(np.mean(unanswerable)) if unanswerable else None,
        slices=_slices(outcomes, statistic, how),
        latency_p50_ms=float(p50),
        latency_p95_ms=float(p95),
        prompt_tokens_mean=float(np.mean([o.response.prompt_tokens for o in outcomes])),
        completion_tokens_mean=float(np.mean([o.response.completion_tokens for o in outcomes])),
    )


def compare(a: RungOutcomes, b: RungOutcomes, evaluation: Evaluation, seed: int = 0) -> Comparison:
    """``a`` minus ``b``, paired by case id.

    Raises:
        StepladderError: the two were not asked the same cases.
    """
    left, right = ordered(a), ordered(b)
    if [o.id for o in left] != [o.id for o in right]:
        odd = {o.id for o in left} ^ {o.id for o in right}
        raise StepladderError(
            f"{a.rung} and {b.rung} were not asked the same cases:"
            f" {len(odd)} stand on one side only, such as {min(odd)}",
            where=a.task,
            remedy="evaluate both on the same cases: dvc repro",
        )
    return compare_outcomes(left, right, resampling(evaluation, seed, a)).comparison(evaluation.confidence)


def compare_outcomes(left: Sequence[Outcome], right: Sequence[Outcome], how: Resampling) -> Pair:
    """``left`` minus ``right``, of the same cases in the same order."""
    statistic = statistic_of(left)
    clusters = [o.cluster for o in left]
    return pair_of(values_of(left, statistic), values_of(right, statistic), clusters, statistic, how)


def ordered(rung: RungOutcomes) -> list[Outcome]:
    """The outcomes by case id.

    Raises:
        StepladderError: there are none, or a case stands there twice and would count as more evidence.
    """
    if not rung.outcomes:
        raise StepladderError(
            f"the rung {rung.rung} has no outcomes", where=rung.task, remedy="evaluate it: dvc repro"
        )
    twice = [case for case, count in Counter(o.id for o in rung.outcomes).items() if count > 1]
    if twice:
        raise StepladderError(
            f"{len(twice)} cases stand twice in the outcomes of {rung.rung}, such as {min(twice)}",
            where=rung.task,
            remedy="remove the duplicates from cases.jsonl and run dvc repro",
        )
    return sorted(rung.outcomes, key=lambda outcome: outcome.id)


def statistic_of(outcomes: Sequence[Outcome]) -> Statistic:
    """``micro-f1`` where the scorer counted issues, else ``mean``."""
    return "micro-f1" if all(outcome.counts is not None for outcome in outcomes) else "mean"


def values_of(outcomes: Sequence[Outcome], statistic: Statistic) -> NDArray[np.float64]:
    """What the statistic is computed from: shape (cases,) of scores or (cases, 3) of tp, fp, fn."""
    import numpy as np

    if statistic == "mean":
        return np.array([o.score for o in outcomes], dtype=np.float64)
    counts = [o.counts for o in outcomes if o.counts is not None]
    return np.array([(c.tp, c.fp, c.fn) for c in counts], dtype=np.float64)


def resampling(evaluation: Evaluation, seed: int, rung: RungOutcomes | None = None) -> Resampling:
    """How the settings resample, and correct for the errors of the judge that scored ``rung``, if one did."""
    return Resampling(
        resamples=evaluation.resamples,
        confidence=evaluation.confidence,
        seed=seed,
        errors=rung.judge.errors if rung and rung.judge else None,
    )


def _slices(outcomes: Sequence[Outcome], statistic: Statistic, how: Resampling) -> dict[str, SliceSummary]:
    table = {}
    for name in sorted({o.slice for o in outcomes}):
        part = [o for o in outcomes if o.slice == name]
        score = score_of(values_of(part, statistic), [o.cluster for o in part], statistic, how)
        interval = score.interval(how.confidence)
        table[name] = SliceSummary(n=len(part), score=score.estimate, interval=interval)
    return table
