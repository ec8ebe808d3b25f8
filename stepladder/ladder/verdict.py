"""The verdict: which rung, why, how sure, and at what cost. A pure function of what was measured.

Rungs in order of cost. A rung is eligible when the one-sided lower 95% bound of its score holds the bar
and its guardrails hold. The winner is the cheapest eligible rung that is non-inferior to the best
eligible one: the paired interval of the difference stays within the margin. Never promoted on hope:
where no rung is eligible but some interval reaches the bar, the verdict is ``inconclusive`` and says how
many cases would settle it. A champion that serves already is replaced only by a rung that is superior, or
non-inferior and cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from stepladder.errors import StepladderError
from stepladder.evaluation.cost import RungCost
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.statistics import Comparison, Interval, cases_needed
from stepladder.evaluation.summary import RungSummary, compare
from stepladder.ladder import wording
from stepladder.ladder.form import Decision, PairVerdict, RungVerdict, Verdict
from stepladder.settings import Evaluation
from stepladder.tasks import TaskSpec

__all__ = ["Evidence", "Verdict", "decide"]

_LADDER = ("prompt", "rag", "lora", "lora+rag")
_ADAPTER_RUNGS = ("lora", "lora+rag")
_GATE_Z = 1.6448536269514722  # normal quantile at 0.95: the gate's bound lies this many standard errors low
_WHAT_EACH_HALF_ADDS = (("rag", "prompt"), ("lora", "prompt"), ("lora+rag", "rag"), ("lora+rag", "lora"))
_SMALLEST_GAP = 0.01  # nearer to the bar than this, a rung would need cases without end
_DIGITS = 6  # the same bytes whatever the last bits of a matrix product are

_Pair = Callable[[str, str], Comparison]


@dataclass(frozen=True)
class Evidence:
    """All that a verdict is made from; ``outcomes``, ``summaries`` and ``costs`` are by rung."""

    task: str
    spec: TaskSpec
    outcomes: Mapping[str, RungOutcomes]
    summaries: Mapping[str, RungSummary]
    costs: Mapping[str, RungCost]
    evaluation: Evaluation
    seed: int = 0
    gaps: Mapping[str, float] = field(default_factory=dict)
    forgetting: float | None = None
    retrieval: Mapping[str, Interval] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    champion: RungOutcomes | None = None


def decide(evidence: Evidence) -> Verdict:
    """Apply the rule.

    Raises:
        StepladderError: there is no rung, a rung lacks its summary or cost, or cases differ between rungs.
    """
    _check(evidence)
    order = sorted(evidence.outcomes, key=lambda rung: (evidence.costs[rung].per_1000, _step(rung)))
    rungs = {rung: _judge(rung, evidence) for rung in order}

    @cache
    def pair(a: str, b: str) -> Comparison:
        return compare(evidence.outcomes[a], evidence.outcomes[b], evidence.evaluation, evidence.seed)

    best, winner = _winner(rungs, evidence.spec.margin, pair)
    comparisons = [_pair_verdict(a, b, pair(a, b)) for a, b in _worth_comparing(order, best)]
    decision, rung, settling = _decision(rungs, winner)
    if winner and evidence.champion:
        against = _against_champion(winner, evidence.champion, evidence)
        comparisons.append(_pair_verdict(winner, "champion", against))
        if not _replaces(winner, evidence.champion, against, evidence):
            decision, rung = "keep", str(evidence.champion.rung)
    verdict = Verdict(
        task=evidence.task,
        title=evidence.spec.title,
        decision=decision,
        rung=rung,
        sentence="",
        bar=evidence.spec.bars.score,
        margin=evidence.spec.margin,
        confidence=evidence.evaluation.confidence,
        rungs=rungs,
        comparisons=comparisons,
        cases_needed=settling,
        gaps=dict(evidence.gaps),
        advice=wording.advice(evidence.gaps, order),
        forgetting=_round(evidence.forgetting),
        retrieval=dict(evidence.retrieval),
        skipped=dict(evidence.skipped),
        costs={name: evidence.costs[name] for name in order},
        sizes=dict(evidence.sizes),
        digests=dict(evidence.digests),
        champion=str(evidence.champion.rung) if evidence.champion else None,
    )
    return verdict.model_copy(update={"sentence": wording.sentence(verdict)})


def _check(evidence: Evidence) -> None:
    if not evidence.outcomes:
        raise StepladderError(
            "no rung was evaluated", where=evidence.task, remedy="run the evaluate stage: dvc repro"
        )
    for rung in evidence.outcomes:
        for name, held in (("summary", evidence.summaries), ("cost", evidence.costs)):
            if rung not in held:
                raise StepladderError(
                    f"the rung {rung} has no {name}", where=evidence.task, remedy="run dvc repro"
                )


def _step(rung: str) -> int:
    return _LADDER.index(rung) if rung in _LADDER else len(_LADDER)


def _judge(rung: str, evidence: Evidence) -> RungVerdict:
    summary, spec = evidence.summaries[rung], evidence.spec
    holds = summary.lower_bound is not None and summary.lower_bound >= spec.bars.score
    breaches = _breaches(rung, evidence)
    undecided = not holds and not breaches and _reaches(summary.interval, spec.bars.score)
    needed = _cases_to_settle(summary, spec.bars.score) if undecided else None
    return RungVerdict(
        variant=summary.variant,
        n=summary.n,
        clusters=summary.clusters,
        statistic=summary.statistic,
        score=round(summary.score, _DIGITS),
        interval=_ends(summary.interval),
        lower_bound=_round(summary.lower_bound),
        exact_rate=round(summary.exact_rate, _DIGITS),
        valid_rate=round(summary.valid_rate, _DIGITS),
        abstention_accuracy=_round(summary.abstention_accuracy),
        cost_per_1000=evidence.costs[rung].per_1000,
        latency_p95_ms=summary.latency_p95_ms,
        eligible=holds and not breaches,
        undecided=undecided,
        reasons=[wording.score_reason(summary, spec.bars.score), *breaches],
        cases_needed=needed,
    )


def _breaches(rung: str, evidence: Evidence) -> list[str]:
    """Guardrails that the rung breaks, in plain words."""
    bars, breaches = evidence.spec.bars, []
    if rung in _ADAPTER_RUNGS and evidence.forgetting is None:
        breaches.append("forgetting was not measured for its adapter")
    elif rung in _ADAPTER_RUNGS and (evidence.forgetting or 0.0) > bars.forgetting:
        breaches.append(
            f"its adapter forgets: perplexity on general text rises by {evidence.forgetting:.1%},"
            f" more than {bars.forgetting:.1%}"
        )
    latency, most = evidence.summaries[rung].latency_p95_ms, bars.latency_p95_ms
    if most is not None and latency > most:
        breaches.append(f"it is too slow: p95 latency is {latency:,.0f} ms, more than {most:,.0f} ms")
    return breaches


def _reaches(interval: Interval, bar: float) -> bool:
    return interval.high is None or interval.high >= bar


def _cases_to_settle(summary: RungSummary, bar: float) -> int | None:
    """Cases that place the bar outside the one-sided bound with 80% power, if the score stays as it is.

    The standard error is read off the bound, so it holds the clustering: more cases means more clusters.
    """
    if summary.lower_bound is None or summary.lower_bound >= summary.score:
        return None
    gap = max(abs(summary.score - bar), _SMALLEST_GAP)
    spread = (summary.score - summary.lower_bound) / _GATE_Z * math.sqrt(summary.n)
    return max(summary.n + 1, cases_needed(gap, sd=spread))


def _winner(rungs: Mapping[str, RungVerdict], margin: float, pair: _Pair) -> tuple[str, str | None]:
    """The best rung, and the cheapest eligible one that is non-inferior to it; rungs come cheapest first."""
    eligible = [rung for rung, judged in rungs.items() if judged.eligible]
    best = max(eligible or rungs, key=lambda rung: rungs[rung].score)
    for rung in eligible:
        if rung == best:
            return best, rung
        lead = pair(best, rung).interval.high
        if lead is not None and lead < margin:
            return best, rung
    return best, None


def _decision(
    rungs: Mapping[str, RungVerdict], winner: str | None
) -> tuple[Decision, str | None, int | None]:
    """The decision, its rung, and the cases that would settle an inconclusive one."""
    if winner:
        return "promote", winner, None
    undecided = [rung for rung in rungs.values() if rung.undecided]
    if not undecided:
        return "none", None, None
    return "inconclusive", None, max(undecided, key=lambda rung: rung.score).cases_needed


def _against_champion(winner: str, champion: RungOutcomes, evidence: Evidence) -> Comparison:
    return compare(evidence.outcomes[winner], champion, evidence.evaluation, evidence.seed)


def _replaces(winner: str, champion: RungOutcomes, against: Comparison, evidence: Evidence) -> bool:
    """Whether the winner is superior to the champion, or non-inferior and cheaper."""
    low = against.interval.low
    if low is None:
        return False
    known = evidence.costs.get(str(champion.rung))
    cheaper = known is not None and evidence.costs[winner].per_1000 < known.per_1000
    return low > 0 or (low > -evidence.spec.margin and cheaper)


def _worth_comparing(order: list[str], best: str) -> list[tuple[str, str]]:
    """What retrieval and an adapter add, each rung with the next cheaper one, and each with the best."""
    added = [pair for pair in _WHAT_EACH_HALF_ADDS if set(pair) <= set(order)]
    steps = [(order[i], order[i - 1]) for i in range(1, len(order))]
    place = order.index(best)
    to_best = [(best, rung) if i < place else (rung, best) for i, rung in enumerate(order) if i != place]
    others = [pair for pair in steps + to_best if pair not in added and pair[::-1] not in added]
    return list(dict.fromkeys(added + others))


def _pair_verdict(a: str, b: str, compared: Comparison) -> PairVerdict:
    return PairVerdict(
        a=a,
        b=b,
        difference=round(compared.difference, _DIGITS),
        interval=_ends(compared.interval),
        p=round(compared.p, _DIGITS),
        test=compared.test,
    )


def _ends(interval: Interval) -> tuple[float, float] | None:
    if interval.low is None or interval.high is None:
        return None
    return round(interval.low, _DIGITS), round(interval.high, _DIGITS)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
