"""Where is the gap? A first answer from the cheap rungs and the gold-evidence probe.

Each failing case gets one label:

- ``knowledge``: it fails without documents and passes with the retrieved ones;
- ``retrieval``: the retrieved chunks miss the evidence, and it passes when the evidence is given;
- ``behaviour``: it had what it needed, or needs no evidence, and still answers wrongly: the wrong form,
  distracted by other chunks, or an answer where it should abstain;
- ``unexplained``: wrong even with the right evidence given alone.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.knowledge.chunk import covers
from stepladder.tasks import Case, Strict, TaskSpec

Cause = Literal["knowledge", "retrieval", "behaviour", "unexplained"]
CAUSES: tuple[Cause, ...] = ("knowledge", "retrieval", "behaviour", "unexplained")
PASS = 0.999


class CaseLabel(Strict):
    """Why one case fails on the prompt rung."""

    id: str
    cause: Cause


class Diagnosis(Strict):
    """The gap: shares of the failing cases by cause, and whether an adapter could close what matters.

    ``reachable`` is the score if training mended every behaviour and unexplained failure of the best
    cheap rung.
    """

    failing: int
    cases: int
    gaps: dict[Cause, float]
    labels: list[CaseLabel]
    best_cheap_rung: str
    best_cheap_score: float
    reachable: float
    train: bool
    reason: str


def diagnose(
    spec: TaskSpec,
    cases: list[Case],
    prompt: RungOutcomes,
    rag: RungOutcomes | None,
    gold: RungOutcomes | None,
    cheap_bound: dict[str, float | None],
    mode: Literal["auto", "full"],
) -> Diagnosis:
    """Label every case that the prompt rung fails, and decide whether training is warranted.

    Args:
        spec: the bars.
        cases: the cases asked, with their evidence.
        prompt: the prompt rung.
        rag: the rag rung, for a task with knowledge.
        gold: the gold-evidence probe over (at least) the cases that rag fails and that have evidence.
        cheap_bound: per cheap rung, the one-sided lower bound of its score; None where it is undefined.
        mode: ``full`` trains regardless.
    """
    with_documents = _by_id(rag)
    with_gold = _by_id(gold)
    evidence = {case.id: case.evidence for case in cases}
    labels = [
        CaseLabel(
            id=one.id, cause=_cause(one, evidence[one.id], with_documents.get(one.id), with_gold.get(one.id))
        )
        for one in prompt.outcomes
        if one.score < PASS
    ]
    best = max((r for r in (prompt, rag) if r is not None), key=_mean)
    trainable = _trainable_share(best, labels, with_documents, with_gold, evidence)
    reachable = _mean(best) + trainable
    train, reason = _warranted(spec, cheap_bound, reachable, mode)
    counts = Counter(label.cause for label in labels)
    return Diagnosis(
        failing=len(labels),
        cases=len(prompt.outcomes),
        gaps={cause: round(counts[cause] / len(labels), 4) if labels else 0.0 for cause in CAUSES},
        labels=labels,
        best_cheap_rung=str(best.rung),
        best_cheap_score=round(_mean(best), 4),
        reachable=round(min(reachable, 1.0), 4),
        train=train,
        reason=reason,
    )


def _by_id(outcomes: RungOutcomes | None) -> dict[str, Outcome]:
    return {outcome.id: outcome for outcome in outcomes.outcomes} if outcomes else {}


def _mean(outcomes: RungOutcomes) -> float:
    return sum(outcome.score for outcome in outcomes.outcomes) / len(outcomes.outcomes)


def _cause(case: Outcome, evidence: list[str], rag: Outcome | None, gold: Outcome | None) -> Cause:
    if rag is None:
        return "behaviour"  # no documents: knowledge cannot be what is missing
    if rag.score >= PASS:
        return "knowledge"
    if not case.answerable:
        return "behaviour"  # it should have abstained
    if not evidence:
        return "unexplained"  # nobody said where the answer stands
    if gold is None or gold.score < PASS:
        return "unexplained"
    found = any(covers(wanted, chunk) for wanted in evidence for chunk in rag.retrieved)
    return "behaviour" if found else "retrieval"


def _trainable_share(
    best: RungOutcomes,
    labels: list[CaseLabel],
    rag: dict[str, Outcome],
    gold: dict[str, Outcome],
    evidence: dict[str, list[str]],
) -> float:
    """How much score the best cheap rung leaves on cases whose evidence it had, or that need none."""
    causes = {label.id: label.cause for label in labels}
    lost = 0.0
    for outcome in best.outcomes:
        cause = causes.get(outcome.id) or _cause(
            outcome, evidence[outcome.id], rag.get(outcome.id), gold.get(outcome.id)
        )
        if cause in ("behaviour", "unexplained"):
            lost += 1.0 - outcome.score
    return lost / len(best.outcomes)


def _warranted(
    spec: TaskSpec, cheap_bound: dict[str, float | None], reachable: float, mode: Literal["auto", "full"]
) -> tuple[bool, str]:
    good_enough = [
        rung for rung, bound in cheap_bound.items() if bound is not None and bound >= spec.bars.score
    ]
    if mode == "full":
        return True, "climb.mode is full: every rung is filled"
    if good_enough:
        return False, f"{good_enough[0]} meets the bar of {spec.bars.score:.2f}: no adapter is needed"
    if reachable < spec.bars.score:
        return False, (
            f"mending every failure that training could reach would give {reachable:.2f}, below the bar of"
            f" {spec.bars.score:.2f}: better documents or retrieval come first"
        )
    return True, (
        f"no cheap rung meets the bar of {spec.bars.score:.2f}; failures that training could mend would"
        f" lift the score to {reachable:.2f}"
    )
