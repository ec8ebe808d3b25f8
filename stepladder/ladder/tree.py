"""The decision tree with this task's own evidence on each branch: how the verdict's answer follows."""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.evaluation.proportions import Interval
from stepladder.ladder.burden import WHAT_TO_CHANGE, told
from stepladder.ladder.causes import MENDED_BY, Need
from stepladder.ladder.form import RungVerdict, Verdict
from stepladder.ladder.gaps import names_of
from stepladder.tasks import Strict

_MOST = 0.8  # a share of questions whose documents are found that leaves little for retrieval to mend


class Branch(Strict):
    """One question of the tree. ``answer`` is None where what ran does not tell."""

    question: str
    answer: bool | None
    evidence: str


def branches(verdict: Verdict) -> list[Branch]:
    """The tree's questions from the cheapest step to the last, with what was measured."""
    return list(_branches(verdict))


def _branches(verdict: Verdict) -> Iterator[Branch]:
    yield _eligible(verdict, "prompt", "Is a prompt good enough?")
    yield _missing_knowledge(verdict)
    if verdict.retrieval:
        yield _found(verdict)
    if "rag" in verdict.rungs:
        yield _eligible(verdict, "rag", "Is retrieval good enough?")
    if any(
        limit is not None for limit in (verdict.rule.bars.latency_p95_ms, verdict.rule.bars.cost_per_1000)
    ):
        yield _too_heavy(verdict)
    yield _needs(verdict, "training", "Does a gap in behaviour remain?")
    for rung in ("lora", "lora+rag"):
        if rung in verdict.rungs or rung in verdict.skipped:
            yield _eligible(verdict, rung, f"Is {rung} good enough?")
    yield Branch(
        question="Does anything help?",
        answer=None if verdict.decision == "inconclusive" else verdict.rung is not None,
        evidence=verdict.sentence,
    )


def _too_heavy(verdict: Verdict) -> Branch:
    question = "Is one good enough, but too slow or too dear?"
    if not verdict.burdens:
        return Branch(question=question, answer=False, evidence="no rung that is good enough breaks a limit")
    evidence = "; ".join(told(one) for one in verdict.burdens)
    shown = any(one.shown for one in verdict.burdens)
    change = "" if verdict.chosen else f". {WHAT_TO_CHANGE[0].upper()}{WHAT_TO_CHANGE[1:]}"
    return Branch(question=question, answer=True if shown else None, evidence=evidence + change)


def _eligible(verdict: Verdict, rung: str, question: str) -> Branch:
    judged = verdict.rungs.get(rung)
    if judged is None:
        reason = verdict.skipped.get(rung, "it was not run")
        return Branch(question=question, answer=None, evidence=f"not run: {reason}")
    answer = None if judged.undecided else judged.eligible
    return Branch(question=question, answer=answer, evidence=_scored(judged, verdict.bar))


def _scored(judged: RungVerdict, bar: float) -> str:
    bound = f", at least {judged.lower_bound:.2f}" if judged.lower_bound is not None else ""
    return f"it scores {judged.score:.2f}{bound}, against a bar of {bar:.2f}"


def _missing_knowledge(verdict: Verdict) -> Branch:
    question = "Is knowledge missing?"
    if "rag" not in verdict.rungs:
        return Branch(question=question, answer=None, evidence="the task has no documents to tell by")
    return _needs(verdict, "documents", question)


def _needs(verdict: Verdict, need: Need, question: str) -> Branch:
    """Yes where such failures are shown to cost the margin, the least that matters; no where less."""
    shares = {cause: verdict.gaps.get(cause, 0.0) for cause in MENDED_BY[need]}
    total = sum(shares.values())
    names = names_of(verdict.gaps, verdict.rungs)
    named = ", ".join(f"{names[cause]} {share:.0%}" for cause, share in shares.items() if share)
    if not any(verdict.gaps.values()):
        return Branch(question=question, answer=False, evidence="no case fails")
    evidence = f"of the failing cases {total:.0%}" + (f": {named}" if named else "")
    of_all = verdict.needs.get(need)
    if of_all is None or of_all.low is None or of_all.high is None:
        return Branch(question=question, answer=None, evidence=f"{evidence}; no interval can be given")
    too = " with rag too" if need == "training" and "rag" in verdict.rungs else ""
    evidence += f"; {_between(of_all)} of all cases{too}, where the margin of {verdict.margin:.2f} matters"
    return Branch(question=question, answer=_against(of_all, verdict.margin), evidence=evidence)


def _against(share: Interval, limit: float) -> bool | None:
    """Whether the whole interval lies above a limit, or below it; None where it does not tell."""
    if share.low is not None and share.low >= limit:
        return True
    return False if share.high is not None and share.high < limit else None


def _between(share: Interval) -> str:
    ends = "" if share.low is None else f" ({share.low:.2f} to {share.high:.2f})"
    return f"{share.estimate:.2f}{ends}"


def _found(verdict: Verdict) -> Branch:
    given = f"recall@{verdict.sizes.get('top_k')}"
    name = given if given in verdict.retrieval else next(iter(verdict.retrieval))
    recall = verdict.retrieval[name]
    return Branch(
        question="Are the right documents found?",
        answer=_against(recall, _MOST),
        evidence=f"{name} is {_between(recall)}, where {_MOST} is enough",
    )
