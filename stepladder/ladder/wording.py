"""The verdict in plain words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stepladder.evaluation.summary import RungSummary
from stepladder.ladder.form import RungVerdict, Verdict

_WHAT_HELPS = {
    "knowledge": "what is missing is knowledge, which retrieval (rag) supplies",
    "retrieval": "the right document is not found: better chunks, or a larger knowledge.top_k",
    "behaviour": "the documents are there and the answer is still wrong: a better prompt, then an adapter",
    "unexplained": "even the right document alone does not help: more training examples, a larger base"
    " model, or a look at the references",
}


def sentence(verdict: Verdict) -> str:
    """The whole verdict in one sentence (the field ``sentence`` itself is not read)."""
    if verdict.decision == "promote" and verdict.rung:
        return _promote(verdict, verdict.rung)
    if verdict.decision == "keep":
        return (
            f"Keep {verdict.rung}, which serves already: no rung that holds the bar of {verdict.bar:.2f} is"
            " better on these cases, or as good and cheaper."
        )
    if verdict.decision == "inconclusive":
        return _inconclusive(verdict)
    return _none(verdict)


def score_reason(summary: RungSummary, bar: float) -> str:
    """Why the score holds the bar or not."""
    if summary.lower_bound is None:
        return f"score {summary.score:.3f} on a single cluster of cases: no interval can be given"
    if summary.lower_bound >= bar:
        return f"the lower 95% bound of its score, {summary.lower_bound:.3f}, holds the bar of {bar:.3f}"
    if summary.interval.high is not None and summary.interval.high >= bar:
        return f"the lower 95% bound of its score, {summary.lower_bound:.3f}, is below the bar of {bar:.3f}"
    return f"its score is below the bar of {bar:.3f}, with its whole interval"


def advice(gaps: Mapping[str, float], rungs: Collection[str]) -> list[str]:
    """What would help, the largest share of failing cases first; what a rung that ran supplies comes last."""
    shares = sorted(
        gaps.items(), key=lambda item: (item[0] == "knowledge" and "rag" in rungs, -item[1], item[0])
    )
    return [
        f"in {share:.0%} of the failing cases {_WHAT_HELPS.get(cause, cause)}"
        for cause, share in shares
        if share > 0
    ]


def money(dollars: float) -> str:
    """US dollars: two decimals, or four below ten cents."""
    if 0 < dollars < 0.00005:
        return "under $0.0001"
    if 0 < dollars < 0.1:
        return f"${dollars:.4f}"
    return f"${dollars:,.2f}" if dollars else "$0"


def _promote(verdict: Verdict, rung: str) -> str:
    judged = verdict.rungs[rung]
    return (
        f"Promote {rung}: it scores {_scored(judged, verdict)}, which holds the bar of {verdict.bar:.2f},"
        f" {_why_this_one(verdict, rung)}; it costs {money(judged.cost_per_1000)} per 1,000 requests."
    )


def _inconclusive(verdict: Verdict) -> str:
    undecided = [name for name, judged in verdict.rungs.items() if judged.undecided]
    rung = _best(verdict, undecided)
    judged, cases = verdict.rungs[rung], verdict.cases_needed
    needs = f"about {cases:,} cases like these would settle it" if cases else "more cases are needed"
    return (
        f"Inconclusive: {rung} scores {_scored(judged, verdict)}, too uncertain to hold against the bar of"
        f" {verdict.bar:.2f} on {judged.n:,} cases; {needs}."
    )


def _none(verdict: Verdict) -> str:
    helps = f"; {verdict.advice[0]}" if verdict.advice else ""
    if any(judged.interval and judged.interval[1] >= verdict.bar for judged in verdict.rungs.values()):
        return f"No rung is good enough: what reaches the bar of {verdict.bar:.2f} breaks a guardrail{helps}."
    best = _best(verdict, list(verdict.rungs))
    return (
        f"No rung is good enough: the best, {best}, scores {_scored(verdict.rungs[best], verdict)}, below the"
        f" bar of {verdict.bar:.2f}{helps}."
    )


def _best(verdict: Verdict, rungs: list[str]) -> str:
    return max(rungs, key=lambda rung: verdict.rungs[rung].score)


def _scored(judged: RungVerdict, verdict: Verdict) -> str:
    if judged.interval is None:
        return f"{judged.score:.2f} (no interval: one cluster)"
    low, high = judged.interval
    return f"{judged.score:.2f} ({verdict.confidence:.0%} interval {low:.2f} to {high:.2f})"


def _why_this_one(verdict: Verdict, rung: str) -> str:
    eligible = [name for name, judged in verdict.rungs.items() if judged.eligible]
    best = _best(verdict, eligible)
    order = list(verdict.rungs)
    if rung != best:
        return f"and is cheaper than the best, {best}, while at most {verdict.margin:.2f} below it"
    if rung == order[0]:
        return "and no rung is cheaper"
    if eligible[0] != rung:
        return f"and no cheaper rung is shown to be within {verdict.margin:.2f} of it"
    return "and no cheaper rung is shown to be good enough"
