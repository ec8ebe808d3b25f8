"""What the champion was measured to be, beside the rungs that would take its place."""

from __future__ import annotations

from stepladder.evaluation.summary import summarise
from stepladder.ladder.evidence import Evidence
from stepladder.ladder.form import DIGITS, ChampionVerdict


def champion_verdict(evidence: Evidence) -> ChampionVerdict | None:
    """None where nothing serves, or what serves could not be weighed."""
    if evidence.champion is None:
        return None
    summary, cost = summarise(evidence.champion, evidence.evaluation, evidence.seed), evidence.champion_cost
    low, high = summary.interval.low, summary.interval.high
    return ChampionVerdict(
        variant=summary.variant,
        n=summary.n,
        score=round(summary.score, DIGITS),
        interval=None if low is None or high is None else (round(low, DIGITS), round(high, DIGITS)),
        cost_per_1000=cost.per_1000 if cost else None,
        latency_p95_ms=summary.latency_p95_ms,
    )
