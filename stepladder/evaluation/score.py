"""Scorers: what a response is worth, between 0 and 1, decided by rules alone."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from stepladder.data.references import UNREADABLE, Issue, abstains, issues_of, normalise, values_of
from stepladder.evaluation.records import Counts
from stepladder.tasks import Case, Strict, TaskSpec

_AROUND = " .:!?'\"`()[]{}*"


class Score(Strict):
    """``score`` in [0, 1]; ``exact``: wholly right; ``valid``: in the form that the task asks for."""

    score: float
    exact: bool
    valid: bool = True
    counts: Counts | None = None


def score_response(spec: TaskSpec, case: Case, text: str) -> Score:
    """Score one response by the rules of the task's scorer; a judge goes by none (``evaluation.judge``)."""
    if spec.scorer == "issue-f1":
        return _score_issues(case.reference, text)
    if spec.scorer == "exact":
        return _right(normalise(text) == normalise(str(case.reference)))
    return _score_short_answer(spec, case, text)


def _right(right: bool) -> Score:
    return Score(score=float(right), exact=right)


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
    """Right when every reference value stands in the answer as a whole word, and no other is listed.

    Yes and no count only as the first word; abstaining is right exactly where the case is unanswerable.
    """
    abstained = abstains(spec, text)
    if not case.answerable or abstained:
        return _right(abstained and not case.answerable)
    answer = normalise(text)
    values = values_of(case.reference)
    if values in (["yes"], ["no"]):
        said = re.match(r"\w*", answer).group()  # type: ignore[union-attr]
        return _right(said == values[0] and not {"yes", "no"} - {said} & set(_items(text, "/")))
    held = bool(values) and all(_contains(answer, value) for value in values)
    return _right(held and not _lists_others(text, values, _parts(case.reference)))


def _parts(reference: Any) -> set[str]:
    """The items of values that are lists themselves: of "present, absent" these two."""
    given = reference if isinstance(reference, list) else [reference]
    return {item for value in given for item in _items(str(value))}


def _lists_others(text: str, values: list[str], parts: set[str]) -> bool:
    """Whether a list in the answer has an item that is a bare value, but not one of the right ones.

    Bare is what has as many words as the longest right value, and at most two: "present, absent" lists
    another value beside "present"; "present, unless it is asked to go" explains. The beginning of a right
    value is no other one: answers are cut at the task's length.
    """
    most = min(2, max(len(value.split()) for value in values))
    return any(
        len(item.split()) <= most
        and item not in parts
        and not any(_contains(item, value) or value.startswith(item) for value in values)
        for item in _items(_answering_part(text, values))
    )


def _answering_part(text: str, values: list[str]) -> str:
    """The first paragraph where it holds the values: what a model rambles below is no part of its list."""
    first = re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0]
    return first if all(_contains(normalise(first), value) for value in values) else text


def _items(text: str, more: str = "") -> list[str]:
    """What stands between commas, semicolons, bars, ends of line, "and" and "or", and ``more`` separators."""
    pieces = re.split(rf"[,;|\n{more}]|\s/\s|\b(?:and|or)\b", text.strip(), flags=re.IGNORECASE)
    bare = (normalise(re.sub(r"^\s*(?:[-*]|\d+[.)])\s+", "", piece)).strip(_AROUND) for piece in pieces)
    return [item for item in bare if item]


def _contains(answer: str, value: str) -> bool:
    if not value:  # nothing but quotes or a full stop: no word to look for
        return not answer
    return re.search(rf"(?<![\w.-]){re.escape(value)}(?![\w-]|\.\w)", answer) is not None


def _score_issues(reference: Any, text: str) -> Score:
    """Issue-level F1 on (category, line, issue); an empty review of clean code scores 1.

    A reply that cannot be read counts as one finding that is not there: else it would cost nothing where
    there is nothing to find.
    """
    wanted = issues_of(reference)
    found = _parse_issues(text)
    if found is None:
        return Score(score=0.0, exact=False, valid=False, counts=Counts(tp=0, fp=1, fn=len(wanted)))
    counts = Counts(tp=len(wanted & found), fp=len(found - wanted), fn=len(wanted - found))
    total = 2 * counts.tp + counts.fp + counts.fn
    return Score(score=2 * counts.tp / total if total else 1.0, exact=wanted == found, counts=counts)


def _parse_issues(text: str) -> set[Issue] | None:
    try:
        return issues_of(_unfenced(text))
    except UNREADABLE:
        return None


def _unfenced(text: str) -> str:
    fenced = re.search(r"```(?:json)?\s*(.*?)```", text, re.DOTALL)
    return fenced.group(1) if fenced else text
