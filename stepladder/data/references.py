"""What a scorer reads out of a reference, and whether it can; responses are read by the same rules."""

from __future__ import annotations

import json
import re
from typing import Any

from stepladder.tasks import TaskSpec

CATEGORIES = ("security", "cost", "correctness")
Issue = tuple[str, int, str]
"""Category, line and, normalised, the issue."""

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What `issues_of` raises on something that is no review."""

_EMPTY = "the reference is empty, quotes and the final full stop put aside"


def normalise(text: str) -> str:
    """Lower case, single spaces, no surrounding quotes, backticks or final full stop."""
    return re.sub(r"\s+", " ", text).strip().strip("`'\"").rstrip(".").strip("`'\"").lower()


def values_of(reference: Any) -> list[str]:
    """The values, normalised, that a short answer must hold."""
    return [normalise(str(value)) for value in (reference if isinstance(reference, list) else [reference])]


def issues_of(review: Any) -> set[Issue]:
    """The issues of a review, given as a value or as JSON text.

    Raises:
        One of ``UNREADABLE``: it is not a review.
    """
    value = json.loads(review) if isinstance(review, str) else review
    return {
        (category, int(issue["line"]), normalise(issue["issue"]))
        for category in CATEGORIES
        for issue in value.get(category, [])
    }


def abstains(spec: TaskSpec, text: str) -> bool:
    """Whether a text says that the documents hold no answer, in the task's words."""
    return spec.abstention is not None and normalise(spec.abstention) in normalise(text)


def reference_fault(spec: TaskSpec, reference: Any, *, answerable: bool) -> str | None:
    """Why the task's scorer can read no right answer out of a reference, or None where it can."""
    if spec.scorer == "issue-f1":
        return _review_fault(reference)
    if spec.scorer in ("exact", "judge"):
        return None if reference is not None and normalise(str(reference)) else _EMPTY
    if not answerable:
        return None if spec.abstention else "is unanswerable, but task.yaml has no abstention"
    return _short_answer_fault(spec, reference)


def _short_answer_fault(spec: TaskSpec, reference: Any) -> str | None:
    values = reference if isinstance(reference, list) else [reference]
    if not values:
        return "the reference holds no value"
    if not all(isinstance(value, str | int | float) for value in values):
        return "the reference must be a text, a number, true or false, or a list of these"
    if not all(values_of(reference)):
        return _EMPTY
    if any(abstains(spec, str(value)) for value in values):
        return "the reference is the task's abstention: set answerable to false"
    return None


def _review_fault(reference: Any) -> str | None:
    try:
        issues = issues_of(reference)
    except UNREADABLE:
        return (
            "the scorer issue-f1 cannot read the review: it needs"
            ' {"security": [], "cost": [], "correctness": []}, each issue with a `line` and an `issue`'
        )
    review = json.loads(reference) if isinstance(reference, str) else reference
    others = sorted(set(review) - set(CATEGORIES))
    if others:
        return f"the scorer issue-f1 reads no category {', '.join(map(repr, others))}"
    if any(not isinstance(review[category], list) for category in review):
        return "each category of the review must be a list of issues"
    if any(not issue for _, _, issue in issues):
        return f"an issue of the review has no words: {_EMPTY}"
    return None
