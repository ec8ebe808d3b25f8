"""Failures by cause: one label a case, shares with intervals, what each probe mended.

``attribute`` runs before there is an adapter, and again when its answers are known: then ``behaviour`` is
what an adapter really mended and ``capability`` what nothing did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from stepladder.evaluation.evidence import Place, Places
from stepladder.evaluation.proportions import Interval, proportion
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.resampling import Resampling
from stepladder.ladder.causes import (
    CAUSES,
    MENDED_BY,
    PROBES,
    Cause,
    Facts,
    Need,
    Probe,
    behind,
    cause_of,
    passes,
)
from stepladder.ladder.suspects import Sayings, Suspect, stubborn, suspects
from stepladder.tasks import Case, Strict, TaskSpec


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
        needs: of all cases, the share that fails for want of documents, and of training where ``rag`` fails
            too.
        labels: one for each failing case.
        probes: what each probe mended.
        suspects: cases whose reference a person should look at; the cause is ``reference`` only where
            several rungs dispute it.
        adapter_known: whether ``behaviour`` and ``capability`` are told apart by an adapter's answers, not by
            what was expected of one.
    """

    cases: int
    failing: int
    gaps: dict[Cause, float]
    shares: dict[Cause, Interval]
    needs: dict[Need, Interval] = Field(default={})
    labels: list[CaseLabel]
    probes: dict[Probe, ProbeResult]
    suspects: list[Suspect]
    adapter_known: bool


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
    return Failures(
        cases=len(facts),
        failing=len(labels),
        gaps={cause: round(shares[cause].estimate, 4) if labels else 0.0 for cause in CAUSES},
        shares=shares,
        needs={need: _need(tried, facts, labels, need) for need in MENDED_BY},
        labels=labels,
        probes={
            name: _probe_result(tried.probes[name], tried.how) for name in PROBES if name in tried.probes
        },
        suspects=_suspects(tried),
        adapter_known=bool(tried.adapters),
    )


def facts_of(tried: Tried) -> list[Facts]:
    """What is known of each case, in case order."""
    prompt, rag = _by_id(tried.cheap["prompt"]), _by_id(tried.cheap.get("rag"))
    probes = {name: _by_id(outcomes) for name, outcomes in tried.probes.items()}
    adapters = [_by_id(outcomes) for outcomes in tried.adapters.values()]
    disputed = {one.id for one in _suspects(tried) if one.disputed}
    sayings = Sayings(tried.spec, tried.without_adapter)
    return [
        Facts(
            case=case,
            prompt=prompt[case.id],
            rag=rag.get(case.id),
            probes={name: rows[case.id] for name, rows in probes.items() if case.id in rows},
            adapters=tuple(rows[case.id] for rows in adapters if case.id in rows),
            disputed=case.id in disputed,
            stubborn=stubborn(case, sayings),
            adapter_expected=tried.adapter_expected,
        )
        for case in tried.cases
    ]


def probes_among(outcomes: Mapping[str, RungOutcomes]) -> dict[Probe, RungOutcomes]:
    """The probes among outcomes by name."""
    return {name: outcomes[name] for name in PROBES if name in outcomes}


def _suspects(tried: Tried) -> list[Suspect]:
    read = {case: place.read for case, place in tried.places.by_case.items() if place.read is not None}
    cases = {case.id: case for case in tried.cases}
    return suspects(tried.spec, cases, {**tried.without_adapter, **tried.adapters}, read)


def _share(labels: Sequence[CaseLabel], cause: Cause, how: Resampling) -> Interval:
    values = [float(label.cause == cause) for label in labels]
    return proportion(values, [label.cluster for label in labels]).interval(how.confidence)


def _need(tried: Tried, facts: Sequence[Facts], labels: Sequence[CaseLabel], need: Need) -> Interval:
    """Training is wanted only where the rung with documents, if the task has any, fails too: what ``prompt``
    invents and ``rag`` does not is no gap in behaviour that remains."""
    mended = {one.case.id for one in facts if one.rag_passes} if need == "training" else set()
    wanting = {label.id for label in labels if label.cause in MENDED_BY[need]} - mended
    values = [float(case.id in wanting) for case in tried.cases]
    return proportion(values, [case.cluster for case in tried.cases]).interval(tried.how.confidence)


def _probe_result(probe: RungOutcomes, how: Resampling) -> ProbeResult:
    passed = [float(passes(one)) for one in probe.outcomes]
    share = proportion(passed, [one.cluster for one in probe.outcomes]).interval(how.confidence)
    return ProbeResult(asked=len(passed), passed=int(sum(passed)), share=share)


def _by_id(outcomes: RungOutcomes | None) -> dict[str, Outcome]:
    return {outcome.id: outcome for outcome in outcomes.outcomes} if outcomes else {}
