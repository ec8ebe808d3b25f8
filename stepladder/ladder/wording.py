"""The verdict in plain words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from stepladder.ladder.burden import WHAT_TO_CHANGE, told
from stepladder.ladder.form import Criterion, Factor, RungVerdict, Verdict
from stepladder.ladder.gaps import UNTOLD, shown
from stepladder.tasks import Bars

WHAT_HELPS: Mapping[str, str] = {
    "knowledge": "what is missing is knowledge, which retrieval (rag) supplies",
    "retrieval": "the right document is not found: better chunks, or a larger knowledge.top_k",
    "grounding": "the model does not keep to what it is given: it is led astray beside the right document, or"
    " answers where it should abstain: fewer chunks, a stricter prompt, or an adapter trained with"
    " distractors",
    "format": "the content is right in the wrong form: an output schema, or examples in the prompt",
    "behaviour": "neither documents nor another form mends it and an adapter does: fine-tuning",
    "capability": "nothing that was tried mends it: more training data, a larger base model, or another"
    " approach",
    "reference": "several rungs agree with each other and not with the reference: look at the references",
}
_UNEVEN = 2  # times the cases to a cluster: a design effect that clusters of like size do not have
_UNTOLD = (
    "neither documents nor another form mends it and an adapter may, which was not tried (behaviour or"
    " capability, not told apart): fine-tuning, or where that does not help a larger base model"
)


def sentence(verdict: Verdict, unweighed: str | None = None, labels_are_few: bool = False) -> str:
    """The whole verdict in one sentence (the field ``sentence`` itself is not read).

    Args:
        verdict: all the rest of it.
        unweighed: why the champion could not be compared, as a clause; None where it was, or there is none.
        labels_are_few: whether a judge's labels leave what is open open, whatever the number of cases.
    """
    if verdict.decision == "promote" and verdict.rung:
        return _promote(verdict, verdict.rung)
    if verdict.decision == "keep" and unweighed:
        return f"Keep {verdict.rung}, which serves already: {unweighed}."
    if verdict.decision == "keep":
        enough = "as good and cheaper" + (" or of today's documents" if verdict.champion_outdated else "")
        return (
            f"Keep {verdict.rung}, which serves already: no rung that holds the bar of {verdict.bar:.2f} is"
            f" shown to be better on these cases, or {enough}."
        )
    if verdict.decision == "inconclusive":
        return _inconclusive(verdict, labels_are_few)
    return _none(verdict)


def reasons(criteria: Sequence[Criterion], level: float, bars: Bars, p95_ms: float) -> list[str]:
    """Why a rung is eligible or not: its score, then every guardrail that is not shown to hold."""
    score, *guardrails = criteria
    return [
        _score_reason(score, level),
        *(_guardrail(one, level, bars, p95_ms) for one in guardrails if one.state != "holds"),
    ]


def _score_reason(score: Criterion, level: float) -> str:
    if score.estimate is None or score.bound is None:
        return f"score {score.estimate:.3f} on a single cluster of cases: no interval can be given"
    if score.state == "fails":
        return f"its score of {score.estimate:.3f} is shown to be below the bar of {score.limit:.3f}"
    holds = "holds" if score.state == "holds" else "is below"
    return (
        f"the lower {1 - level:.1%} bound of its score, {score.bound:.3f},"
        f" {holds} the bar of {score.limit:.3f}"
    )


def _guardrail(one: Criterion, level: float, bars: Bars, p95_ms: float) -> str:
    """A guardrail that breaks, or is not shown to hold."""
    if one.name == "forgetting":
        return _forgetting(one, level)
    if one.name == "cost":
        return f"it is too dear: {money(one.estimate or 0)} per 1,000 requests, more than {money(one.limit)}"
    if one.estimate is None:
        return f"its {one.name} cannot be shown: no case is unanswerable, and {one.limit:.0%} are asked for"
    bound = "" if one.bound is None else f", lower {1 - level:.1%} bound {one.bound:.1%}"
    shares = f"{one.estimate:.1%} of {one.cases} cases{bound}, where {one.limit:.0%} are asked for"
    if one.name == "latency":
        slow = f"p95 latency is {p95_ms:,.0f} ms, and {bars.latency_p95_ms:,.0f} ms is the most"
        verb = "it is too slow" if one.state == "fails" else "it is not shown to be fast enough"
        return f"{verb}: {slow}; in time are {shares}"
    what = "abstains rightly" if one.name == "abstention" else "answers in valid form"
    verb = "too seldom" if one.state == "fails" else "not shown to be often enough"
    return f"it {what} {verb}: {shares}"


def _forgetting(one: Criterion, level: float) -> str:
    if one.estimate is None:
        return "forgetting was not measured for its adapter"
    rises = f"perplexity on general text rises by {one.estimate:.1%}"
    if one.cases is None:
        return f"its adapter forgets: {rises}, more than {one.limit:.1%}, as measured"
    if one.bound is not None:
        rises += f", upper {1 - level:.1%} bound {one.bound:.1%} on {one.cases} questions"
    verb = "forgets" if one.state == "fails" else "is not shown to forget little enough"
    return f"its adapter {verb}: {rises}, where {one.limit:.1%} is the most"


def advice(gaps: Mapping[str, float], rungs: Collection[str]) -> list[str]:
    """What would help, the largest share of failing cases first; what a rung that ran supplies comes last.

    Args:
        gaps: shares of the failing cases by cause.
        rungs: those that ran: without an adapter's, nobody knows what one mends.
    """
    helps = {**WHAT_HELPS, UNTOLD: _UNTOLD}
    shares = sorted(
        shown(gaps, rungs).items(),
        key=lambda item: (item[0] == "knowledge" and "rag" in rungs, -item[1], item[0]),
    )
    return [
        f"in {share:.0%} of the failing cases {helps.get(cause, cause)}"
        for cause, share in shares
        if share > 0
    ]


def figure(value: float, factor: Factor) -> str:
    """A number of the rule as people write it; prices are told as multiples."""
    if factor == "monthly requests":
        return f"{value:,.0f}"
    return f"{value:.2g} times" if factor.endswith("price") else f"{value:.2g}"


def money(dollars: float) -> str:
    """US dollars: two decimals, or four below ten cents."""
    if 0 < dollars < 0.00005:
        return "under $0.0001"
    if 0 < dollars < 0.1:
        return f"${dollars:.4f}"
    return f"${dollars:,.2f}" if dollars else "$0"


def _promote(verdict: Verdict, rung: str) -> str:
    judged = verdict.rungs[rung]
    unseen = f"; {' and '.join(verdict.skipped)} not run" if verdict.skipped else ""
    renewed = "; what serves now answers from older documents" if verdict.champion_outdated else ""
    return (
        f"Promote {rung}: it scores {_scored(judged, verdict)}, which holds the bar of {verdict.bar:.2f},"
        f" {_why_this_one(verdict, rung)}; it costs {money(judged.cost_per_1000)} per 1,000 requests"
        f"{renewed}{unseen}."
    )


def _inconclusive(verdict: Verdict, labels_are_few: bool) -> str:
    judged = verdict.rungs[verdict.unsettled or next(iter(verdict.rungs))]
    cases = verdict.cases_needed
    needs = f"about {cases:,} cases like these would settle it" if cases else _missing(judged, labels_are_few)
    enough = [name for name, one in verdict.rungs.items() if one.eligible]
    meanwhile = f"; {enough[0]} is shown to be good enough meanwhile" if enough else ""
    return (
        f"Inconclusive: {judged.n:,} cases do not settle {verdict.open[0]}; {verdict.unsettled} scores"
        f" {_scored(judged, verdict)} against a bar of {verdict.bar:.2f}; {needs}{meanwhile}."
    )


def _missing(judged: RungVerdict, labels_are_few: bool) -> str:
    """What has to come where no number of cases like these would settle it."""
    unmeasured = {one.name for one in judged.criteria if one.state == "open" and one.estimate is None}
    if "forgetting" in unmeasured:
        return "what its adapter forgets has to be measured"
    if any(one.name == "forgetting" and one.state == "open" for one in judged.criteria):
        return "its adapter has to forget less, or bars.forgetting to allow more: no case tells of that"
    if labels_are_few:
        return "more labels for the judge are needed: no number of cases makes up for so few"
    if unmeasured:
        return f"unanswerable cases are needed, to show its {' and '.join(sorted(unmeasured))}"
    if judged.clusters == 1:
        return "cases of more than one cluster are needed"
    uneven = judged.design_effect > _UNEVEN * judged.n / judged.clusters
    more = "cases of more clusters are needed: a few clusters hold most of these"
    return more if uneven else "more cases are needed"


def what_helps(verdict: Verdict) -> list[str]:
    """The next steps, each a clause: a smaller model where one is good enough but too slow or too dear, then
    what the failing cases call for."""
    heavy = [f"{told(one)}: {WHAT_TO_CHANGE}" for one in verdict.burdens] if not verdict.chosen else []
    return [*heavy, *verdict.advice]


def _none(verdict: Verdict) -> str:
    helps = f"; {next(iter(verdict.advice), '')}" if verdict.advice else ""
    if verdict.burdens:
        return f"No rung is good enough as it is: {told(verdict.burdens[0])}; {WHAT_TO_CHANGE}."
    scores = {judged.criteria[0].state for judged in verdict.rungs.values()}
    if scores != {"fails"}:
        reaches = "reaches" if "holds" in scores else "may reach"
        return (
            f"No rung is good enough: what {reaches} the bar of {verdict.bar:.2f} breaks a guardrail{helps}."
        )
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
    best = _best(verdict, [name for name, judged in verdict.rungs.items() if judged.eligible])
    cheaper = list(verdict.rungs)[: list(verdict.rungs).index(rung)]
    if rung != best:
        return f"and is cheaper than the best, {best}, while less than {verdict.margin:.2f} below it"
    if not cheaper:
        return "and no rung is cheaper"
    if any(verdict.rungs[name].eligible for name in cheaper):
        return "and is better than every cheaper rung that is good enough"
    return "and no cheaper rung is good enough or as good"
