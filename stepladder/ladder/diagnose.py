"""Where is the gap? Causes of the failures with intervals on their shares, and whether to train.

``diagnose`` runs before there is an adapter, ``attribute`` again when its answers are known: then
``behaviour`` is what an adapter really mended and ``capability`` what nothing did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from stepladder.evaluation.evidence import Place, Places
from stepladder.evaluation.records import Counts, Outcome, RungOutcomes
from stepladder.evaluation.statistics import (
    Interval,
    Resampling,
    Statistic,
    cluster_bootstrap,
    wilson,
)
from stepladder.evaluation.summary import ordered, statistic_of, values_of
from stepladder.ladder.causes import (
    CAUSES,
    FORM_PROBES,
    PASS,
    PROBES,
    Cause,
    Facts,
    Probe,
    behind,
    cause_of,
    passes,
)
from stepladder.ladder.suspects import Sayings, Suspect, stubborn, suspects
from stepladder.ladder.warrant import Means, Warrant, weigh
from stepladder.tasks import Case, Strict, TaskSpec
from stepladder.tuning.curve import Prediction
from stepladder.tuning.estimate import Estimate
from stepladder.tuning.gate import ExampleQuality

_TRAINABLE: frozenset[Cause] = frozenset({"grounding", "format", "behaviour"})


class CaseLabel(Strict):
    """Why one case fails. ``behind``: what would still fail then; ``place``: where its evidence stood."""

    id: str
    cluster: str
    cause: Cause
    behind: Cause | None = None
    place: Place | None = None


class ProbeResult(Strict):
    """What a probe mended: ``passed`` of the ``asked`` failing cases, as a share with its interval."""

    asked: int
    passed: int
    share: Interval


class Failures(Strict):
    """The failing cases by cause.

    Attributes:
        cases, failing: how many were asked, and how many of them a cheap rung fails.
        gaps, shares: of the failing cases by cause; the shares with intervals.
        labels: one for each failing case.
        probes: what each probe mended.
        suspects: cases whose reference a person should look at.
        adapter_known: whether ``behaviour`` and ``capability`` are told apart by an adapter's answers, not by
            what was expected of one.
    """

    cases: int
    failing: int
    gaps: dict[Cause, float]
    shares: dict[Cause, Interval]
    labels: list[CaseLabel]
    probes: dict[Probe, ProbeResult]
    suspects: list[Suspect]
    adapter_known: bool


class Diagnosis(Strict):
    """The failures, how far training could lift the score, and whether it is warranted.

    ``reach`` is the score of the best rung without an adapter if every failure that training could mend were
    mended, in the same ``statistic`` as the bar. ``prediction`` is a pilot's; None: not measured.
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


@dataclass(frozen=True)
class Tried:
    """What was asked and what came of it.

    Attributes:
        spec: the scorer.
        cases: the cases asked.
        cheap: outcomes of ``prompt`` and, for a task with documents, ``rag``.
        probes: outcomes by probe, over the cases that needed it.
        adapters: outcomes of ``lora`` and ``lora+rag``; empty before there is an adapter.
        places: where evidence stood, for cases that ``rag`` fails.
        how: resamples, confidence and seed of the intervals.
        adapter_expected: whether an adapter is expected to help.
    """

    spec: TaskSpec
    cases: Sequence[Case]
    cheap: Mapping[str, RungOutcomes]
    probes: Mapping[Probe, RungOutcomes] = field(default_factory=dict)
    adapters: Mapping[str, RungOutcomes] = field(default_factory=dict)
    places: Places = field(default_factory=Places)
    how: Resampling = field(default_factory=Resampling)
    adapter_expected: bool = True

    @property
    def without_adapter(self) -> dict[str, RungOutcomes]:
        """Outcomes of cheap rungs and probes by name."""
        return {**self.cheap, **{str(name): outcomes for name, outcomes in self.probes.items()}}


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


def attribute(tried: Tried) -> Failures:
    """Label every case that a cheap rung fails. Pure: the same outcomes give the same labels."""
    facts = facts_of(tried)
    found = [(one, cause_of(one)) for one in facts]
    labels = [
        CaseLabel(
            id=one.case.id,
            cluster=one.case.cluster,
            cause=cause,
            behind=behind(one, cause),
            place=tried.places.by_case.get(one.case.id),
        )
        for one, cause in found
        if cause is not None
    ]
    shares = {cause: _share(labels, cause, tried.how) for cause in CAUSES} if labels else {}
    listed = {label.id for label in labels if label.cause == "reference"}
    return Failures(
        cases=len(facts),
        failing=len(labels),
        gaps={cause: round(shares[cause].estimate, 4) if labels else 0.0 for cause in CAUSES},
        shares=shares,
        labels=labels,
        probes={
            name: _probe_result(tried.probes[name], tried.how) for name in PROBES if name in tried.probes
        },
        suspects=[one for one in _suspects(tried) if one.id in listed],
        adapter_known=bool(tried.adapters),
    )


def facts_of(tried: Tried, possible: frozenset[Probe] = frozenset(FORM_PROBES)) -> list[Facts]:
    """What is known of each case, in case order.

    Args:
        tried: the outcomes.
        possible: the form probes that can be asked.
    """
    prompt, rag = _by_id(tried.cheap["prompt"]), _by_id(tried.cheap.get("rag"))
    probes = {name: _by_id(outcomes) for name, outcomes in tried.probes.items()}
    adapters = [_by_id(outcomes) for outcomes in tried.adapters.values()]
    suspicious = {one.id for one in _suspects(tried)}
    sayings = Sayings(tried.spec, tried.without_adapter)
    return [
        Facts(
            case=case,
            prompt=prompt[case.id],
            rag=rag.get(case.id),
            probes={name: rows[case.id] for name, rows in probes.items() if case.id in rows},
            possible=possible,
            adapters=tuple(rows[case.id] for rows in adapters if case.id in rows),
            suspect=case.id in suspicious,
            stubborn=stubborn(case, sayings),
            adapter_expected=tried.adapter_expected,
        )
        for case in tried.cases
    ]


def reach_of(tried: Tried, failures: Failures) -> Interval:
    """The score if training mended all that it can, in the statistic of the bar.

    It starts from the rung that an adapter would stand on: with documents where the task has some. A case
    whose cause is knowledge or retrieval stays as it is there, and so does a suspect reference.
    """
    start = tried.cheap.get("rag") or tried.cheap["prompt"]
    mendable = {label.id for label in failures.labels if label.cause in _TRAINABLE}
    outcomes = [_mended(one) if one.id in mendable else one for one in ordered(start)]
    statistic = statistic_of(outcomes)
    return cluster_bootstrap(
        values_of(outcomes, statistic), [one.cluster for one in outcomes], statistic, tried.how
    )


def best_cheap(tried: Tried) -> tuple[str, float, Statistic]:
    """The better rung without an adapter, its score in the statistic of the bar, and that statistic."""
    scores = {rung: _score(outcomes) for rung, outcomes in tried.cheap.items()}
    best = max(scores, key=lambda rung: scores[rung])
    return best, scores[best], statistic_of(tried.cheap[best].outcomes)


def probes_among(outcomes: Mapping[str, RungOutcomes]) -> dict[Probe, RungOutcomes]:
    """The probes among outcomes by name."""
    names: tuple[Probe, ...] = get_args(Probe)
    return {name: outcomes[name] for name in names if name in outcomes}


def _suspects(tried: Tried) -> list[Suspect]:
    read = {case: place.read for case, place in tried.places.by_case.items() if place.read is not None}
    cases = {case.id: case for case in tried.cases}
    return suspects(tried.spec, cases, {**tried.without_adapter, **tried.adapters}, read)


def _share(labels: Sequence[CaseLabel], cause: Cause, how: Resampling) -> Interval:
    """Clusters are resampled: cases about one document fail together, and for the same cause."""
    clusters = [label.cluster for label in labels]
    count, size = sum(label.cause == cause for label in labels), len(set(clusters))
    if count in (0, len(labels)):  # nothing to resample
        low, high = wilson(count / len(labels) * size, size, how.confidence)
        return Interval(
            estimate=count / len(labels), low=low, high=high, confidence=how.confidence, method="Wilson"
        )
    return cluster_bootstrap([float(label.cause == cause) for label in labels], clusters, "mean", how)


def _probe_result(probe: RungOutcomes, how: Resampling) -> ProbeResult:
    passed = [float(passes(one)) for one in probe.outcomes]
    share = cluster_bootstrap(passed, [one.cluster for one in probe.outcomes], "mean", how)
    return ProbeResult(asked=len(passed), passed=int(sum(passed)), share=share)


def _by_id(outcomes: RungOutcomes | None) -> dict[str, Outcome]:
    return {outcome.id: outcome for outcome in outcomes.outcomes} if outcomes else {}


def _score(outcomes: RungOutcomes) -> float:
    """Without resampling: micro F1 of the summed counts, or the mean."""
    if statistic_of(outcomes.outcomes) == "mean":
        return sum(one.score for one in outcomes.outcomes) / len(outcomes.outcomes)
    counts = [one.counts for one in outcomes.outcomes if one.counts]
    right, all_of = (
        2 * sum(c.tp for c in counts),
        sum(2 * c.tp + c.fp + c.fn for c in counts),
    )
    return right / all_of if all_of else 1.0


def _mended(outcome: Outcome) -> Outcome:
    """The outcome as it would be if the case were wholly right."""
    if outcome.score >= PASS:
        return outcome
    counts = outcome.counts
    whole = Counts(tp=counts.tp + counts.fn, fp=0, fn=0) if counts else None
    return outcome.model_copy(update={"score": 1.0, "exact": True, "valid": True, "counts": whole})
