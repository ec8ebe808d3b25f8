"""Where is the gap, how far could training lift the score, and is it warranted?"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from stepladder.evaluation.intervals import score_of
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import Counts, Outcome, RungOutcomes
from stepladder.evaluation.resampling import Statistic
from stepladder.evaluation.summary import ordered, statistic_of, values_of
from stepladder.ladder.attribution import Failures, Tried, attribute
from stepladder.ladder.causes import Cause, passes
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
    reach: Interval
    estimate: Estimate
    quality: ExampleQuality
    prediction: Prediction | None
    warrant: Warrant

    @model_validator(mode="before")
    @classmethod
    def _without_what_nobody_reads(cls, row: Any) -> Any:
        """Diagnoses of before told the best cheap rung and its score too."""
        gone = ("best_cheap_rung", "best_cheap_score")
        return {key: value for key, value in row.items() if key not in gone} if isinstance(row, dict) else row

    @property
    def gaps(self) -> dict[Cause, float]:
        """Share of the failing cases by cause."""
        return self.failures.gaps


def diagnose(tried: Tried, means: Means) -> Diagnosis:
    """Attribute the failures of the cheap rungs and decide whether training is warranted."""
    failures = attribute(tried)
    reach = reach_of(tried, failures)
    return Diagnosis(
        failures=failures,
        statistic=statistic_of(_start(tried).outcomes),
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
    start = _start(tried)
    mendable = {label.id for label in failures.labels if label.cause in _TRAINABLE}
    outcomes = [_mended(one) if one.id in mendable else one for one in ordered(start)]
    statistic = statistic_of(outcomes)
    clusters = [one.cluster for one in outcomes]
    return score_of(values_of(outcomes, statistic), clusters, statistic, tried.how).interval(
        tried.how.confidence
    )


def _start(tried: Tried) -> RungOutcomes:
    """The rung that an adapter would stand on."""
    return tried.cheap.get("rag") or tried.cheap["prompt"]


def _mended(outcome: Outcome) -> Outcome:
    """The outcome as it would be if the case were wholly right."""
    if passes(outcome):
        return outcome
    counts = outcome.counts
    whole = Counts(tp=counts.tp + counts.fn, fp=0, fn=0) if counts else None
    return outcome.model_copy(update={"score": 1.0, "exact": True, "valid": True, "counts": whole})
