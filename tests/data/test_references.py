"""References out of which a scorer can read no right answer are named before anything is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepladder.data.references import reference_fault
from stepladder.evaluation.score import score_response
from stepladder.tasks import Bars, Case, ScorerName, TaskSpec


def spec(scorer: ScorerName, **given: Any) -> TaskSpec:
    made = {"title": "t", "bars": Bars(score=0.5), "margin": 0.03, "monthly_requests": 1}
    return TaskSpec(scorer=scorer, **made, **given)


REVIEW = {"security": [], "cost": [{"line": 3, "issue": "no lifecycle"}], "correctness": []}
SOUND: list[tuple[ScorerName, Any]] = [
    ("issue-f1", REVIEW),
    ("issue-f1", json.dumps(REVIEW)),
    ("short-answer", "present"),
    ("short-answer", ["a", 5, True]),
    ("exact", "Restart it"),
    ("exact", []),
]


@pytest.mark.parametrize(("scorer", "reference"), SOUND)
def test_a_sound_reference_has_no_fault_and_scores_its_own_answer(scorer: ScorerName, reference: Any) -> None:
    assert reference_fault(spec(scorer), reference, answerable=True) is None
    said = (
        ", ".join(map(str, reference))
        if scorer == "short-answer" and isinstance(reference, list)
        else (json.dumps(reference) if isinstance(reference, dict) else str(reference))
    )
    case = Case(id="c", input="q", reference=reference, cluster="k")
    assert score_response(spec(scorer), case, said).score == 1


@pytest.mark.parametrize(
    "reference",
    [
        "no issues",
        ["no", "issues"],
        None,
        {"cost": [{"line": "three", "issue": "x"}]},
        {"cost": [{"line": 3}]},
        {"cost": [{"line": 3, "issue": 5}]},
        {"cost": ["no lifecycle"]},
        {"cost": None},
    ],
)
def test_a_review_that_the_scorer_cannot_read(reference: Any) -> None:
    told = reference_fault(spec("issue-f1"), reference, answerable=True)
    assert told
    assert told.startswith("the scorer issue-f1 cannot read the review")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ({"Cost": []}, "reads no category 'Cost'"),
        ({"cost": ""}, "must be a list"),
        ({"cost": [{"line": 3, "issue": " . "}]}, "has no words"),
    ],
)
def test_a_review_that_would_be_read_as_something_else(reference: Any, told: str) -> None:
    assert told in str(reference_fault(spec("issue-f1"), reference, answerable=True))


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ([], "holds no value"),
        (None, "must be a text, a number"),
        ({"a": 1}, "must be a text, a number"),
        ([["a"]], "must be a text, a number"),
        ("", "is empty"),
        ("'.'", "is empty"),
        (["a", " "], "is empty"),
        ("Not in the documents", "set answerable to false"),
    ],
)
def test_a_short_answer_that_no_response_could_give(reference: Any, told: str) -> None:
    short = spec("short-answer", abstention="Not in the documents.")
    assert told in str(reference_fault(short, reference, answerable=True))


def test_an_unanswerable_row_needs_words_to_abstain_in() -> None:
    assert reference_fault(spec("short-answer", abstention="No idea."), "", answerable=False) is None
    told = reference_fault(spec("short-answer"), "No idea.", answerable=False)
    assert told == "is unanswerable, but task.yaml has no abstention"


def test_an_unanswerable_review_must_be_readable_too() -> None:
    told = reference_fault(spec("issue-f1", abstention="No idea."), "No idea.", answerable=False)
    assert "cannot read the review" in str(told)


@pytest.mark.parametrize("reference", [None, "", " '' "])
def test_nothing_can_be_equal_to_an_empty_reference(reference: Any) -> None:
    assert "is empty" in str(reference_fault(spec("exact"), reference, answerable=True))
