"""Scorers: what a response is worth, between 0 and 1, decided by rules alone."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

from stepladder.evaluation.records import Counts
from stepladder.tasks import Case, Strict, TaskSpec

CATEGORIES = ("security", "cost", "correctness")
Issue = tuple[str, int, str]


class Score(Strict):
    """``score`` in [0, 1]; ``exact``: wholly right; ``valid``: in the form that the task asks for."""

    score: float
    exact: bool
    valid: bool = True
    counts: Counts | None = None


def score_response(spec: TaskSpec, case: Case, text: str) -> Score:
    """Score one response with the task's scorer."""
    if spec.scorer == "issue-f1":
        return _score_issues(case.reference, text)
    if spec.scorer == "exact":
        return _right(normalise(text) == normalise(str(case.reference)))
    return _score_short_answer(spec, case, text)


def _right(right: bool) -> Score:
    return Score(score=float(right), exact=right)


def normalise(text: str) -> str:
    """Lower case, single spaces, no surrounding quotes, backticks or final full stop."""
    return re.sub(r"\s+", " ", text).strip().strip("`'\"").rstrip(".").strip("`'\"").lower()


def abstains(spec: TaskSpec, text: str) -> bool:
    """Whether a response says that the documents hold no answer, in the task's words."""
    return spec.abstention is not None and normalise(spec.abstention) in normalise(text)


def said(spec: TaskSpec, text: str) -> Hashable | None:
    """What a response says, to compare it with others: equal where two say the same.

    None where it says nothing that could be right of an answerable case: it abstains, is empty or in no
    valid form.
    """
    if spec.scorer == "issue-f1":
        issues = _parse_issues(text)
        return None if issues is None else frozenset(issues)
    return None if abstains(spec, text) else normalise(text) or None


def _score_short_answer(spec: TaskSpec, case: Case, text: str) -> Score:
    """Right when every reference value stands in the answer as a whole word.

    Yes and no count only as the first word; abstaining is right exactly where the case is unanswerable.
    """
    abstained = abstains(spec, text)
    if not case.answerable or abstained:
        return _right(abstained and not case.answerable)
    answer = normalise(text)
    values = [
        normalise(str(v)) for v in (case.reference if isinstance(case.reference, list) else [case.reference])
    ]
    if values in (["yes"], ["no"]):
        return _right(re.match(r"\w*", answer).group() == values[0])  # type: ignore[union-attr]
    return _right(bool(values) and all(_contains(answer, value) for value in values))


def _contains(answer: str, value: str) -> bool:
    if not value:  # nothing but quotes or a full stop: no word to look for
        return not answer
    return re.search(rf"(?<![\w.-]){re.escape(value)}(?![\w-]|\.\w)", answer) is not None


def _score_issues(reference: dict[str, Any], text: str) -> Score:
    """Issue-level F1 on (category, line, issue); an empty review of clean code scores 1."""
    wanted = _issues(reference)
    found = _parse_issues(text)
    if found is None:
        return Score(score=0.0, exact=False, valid=False, counts=Counts(tp=0, fp=0, fn=len(wanted)))
    counts = Counts(tp=len(wanted & found), fp=len(found - wanted), fn=len(wanted - found))
    total = 2 * counts.tp + counts.fp + counts.fn
    return Score(score=2 * counts.tp / total if total else 1.0, exact=wanted == found, counts=counts)


def _parse_issues(text: str) -> set[Issue] | None:
    try:
        return _issues(json.loads(_unfenced(text)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _unfenced(text: str) -> str:
    fenced = re.search(r"```(?:json)?\s*(.*?)```", text, re.DOTALL)
    return fenced.group(1) if fenced else text


def _issues(review: dict[str, Any]) -> set[Issue]:
    return {
        (category, int(issue["line"]), normalise(issue["issue"]))
        for category in CATEGORIES
        for issue in review.get(category, [])
    }
