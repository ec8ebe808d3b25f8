"""Where is the gap, how far could training lift the score, and is it warranted?"""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.evaluation.records import Counts, Outcome
from stepladder.evaluation.statistics import Interval, Statistic, score_of
from stepladder.evaluation.summary import ordered, statistic_of, values_of
from stepladder.ladder.attribution import Failures, Tried, attribute
from stepladder.ladder.causes import Cause, passes
from stepladder.ladder.pilot import point_score
from stepladder.ladder.warrant import Means, Warrant, weigh
from stepladder.tasks import Strict
from stepladder.tuning.curve import Prediction
from stepladder.tuning.estimate import Estimate
from stepladder.tuning.gate import ExampleQuality

# Capability too: that an adapter will not mend it is a pilot's word, which is weighed by itself.
_TRAINABLE: frozenset[Cause] = frozenset({"grounding", "format", "behaviour", "capability"})


class Diagnosis(Strict):
    """The failures, how far training could lift the score, and whether it is warranted.

    ``reach`` is the score if every failure that training could mend were mended, in the same ``statistic`` as
    the bar. ``prediction`` is a pilot's; None: not measured.
    """

    failures: Failures
    statistic: Statistic
    best_cheap_rung: str
    best_cheap_score: float
    reach: Interval
    estimate: Estimate
    quality: ExampleQuality
    prediction: Prediction | None
    warrant: Warrant

    @property
    def gaps(self) -> dict[Cause, float]:
        """Share of the failing cases by cause."""
        return self.failures.gaps


def diagnose(tried: Tried, means: Means) -> Diagnosis:
    """Attribute the failures of the cheap rungs and decide whether training is warranted."""
    failures = attribute(tried)
    rung, score, statistic = best_cheap(tried)
    reach = reach_of(tried, failures)
    return Diagnosis(
        failures=failures,
        statistic=statistic,
        best_cheap_rung=rung,
        best_cheap_score=round(score, 4),
        reach=reach,
        estimate=means.estimate,
        quality=means.quality,
        prediction=means.prediction,
        warrant=weigh(tried.spec.bars.score, reach, means),
    )


def reach_of(tried: Tried, failures: Failures) -> Interval:
    """The score if training mended all that it can, in the statistic of the bar.

    It starts from the rung that an adapter would stand on: with documents where the task has some. A case
    whose cause is knowledge or retrieval stays as it is there, and so does a suspect reference.
    """
    start = tried.cheap.get("rag") or tried.cheap["prompt"]
    mendable = {label.id for label in failures.labels if label.cause in _TRAINABLE}
    outcomes = [_mended(one) if one.id in mendable else one for one in ordered(start)]
    statistic = statistic_of(outcomes)
    clusters = [one.cluster for one in outcomes]
    return score_of(values_of(outcomes, statistic), clusters, statistic, tried.how).interval(
        tried.how.confidence
    )


def best_cheap(tried: Tried) -> tuple[str, float, Statistic]:
    """The better rung without an adapter, its score in the statistic of the bar, and that statistic."""
    scores = {rung: _score(outcomes.outcomes) for rung, outcomes in tried.cheap.items()}
    best = max(scores, key=lambda rung: scores[rung])
    return best, scores[best], statistic_of(tried.cheap[best].outcomes)


def _score(outcomes: Sequence[Outcome]) -> float:
    statistic = statistic_of(outcomes)
    return point_score(values_of(outcomes, statistic), statistic)


def _mended(outcome: Outcome) -> Outcome:
    """The outcome as it would be if the case were wholly right."""
    if passes(outcome):
        return outcome
    counts = outcome.counts
    whole = Counts(tp=counts.tp + counts.fn, fp=0, fn=0) if counts else None
    return outcome.model_copy(update={"score": 1.0, "exact": True, "valid": True, "counts": whole})
