"""Two releases are compared on what both were asked, and the cases that changed sides are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.evaluation.evaluate import rescored
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.summary import compare
from stepladder.ladder.compare import compare_releases
from stepladder.tasks import Task

from .conftest import EVALUATION, SPEC, make_outcomes

BEFORE, AFTER = make_outcomes("rag", 0.5), make_outcomes("lora+rag", 0.7)


def as_stored(said: RungOutcomes) -> RungOutcomes:
    return said


def without(outcomes: RungOutcomes, *ids: str) -> RungOutcomes:
    kept = [one for one in outcomes.outcomes if one.id not in ids]
    return outcomes.model_copy(update={"outcomes": kept})


def test_the_difference_is_that_of_the_newer_minus_the_older() -> None:
    found = compare_releases(("v1", BEFORE), ("v2", AFTER), EVALUATION, as_stored)
    assert found.comparison == compare(AFTER, BEFORE, EVALUATION)
    assert found.comparison.difference == pytest.approx(found.score_after - found.score_before)
    assert found.comparison.difference == pytest.approx((len(found.gained) - len(found.lost)) / found.cases)


def test_cases_that_changed_sides_are_named_with_both_answers() -> None:
    found = compare_releases(("v1", BEFORE), ("v2", AFTER), EVALUATION, as_stored)
    scores = {one.id: one.score for one in BEFORE.outcomes}
    assert found.gained
    assert all(scores[case.id] == 0 and case.after == 1 for case in found.gained)
    assert all(case.before_text != case.after_text for case in found.gained)
    assert compare_releases(("v2", AFTER), ("v1", BEFORE), EVALUATION, as_stored).lost


def test_a_case_that_can_be_answered_now_is_another_case() -> None:
    turned = [one.model_copy(update={"answerable": not one.answerable}) if one.id == "case-0001" else one
              for one in AFTER.outcomes]  # fmt: skip
    found = compare_releases(
        ("v1", BEFORE), ("v2", AFTER.model_copy(update={"outcomes": turned})), EVALUATION, as_stored
    )
    assert (found.cases, found.only_before, found.only_after) == (179, 1, 1)


def test_only_shared_cases_count() -> None:
    found = compare_releases(
        ("v1", without(BEFORE, "case-0000")),
        ("v2", without(AFTER, "case-0001", "case-0002")),
        EVALUATION,
        as_stored,
    )
    assert found.cases == len(BEFORE.outcomes) - 3
    assert (found.only_before, found.only_after) == (2, 1)


def test_a_case_whose_reference_changed_is_another_case() -> None:
    first = AFTER.outcomes[0].model_copy(update={"reference": "something else"})
    changed = AFTER.model_copy(update={"outcomes": [first, *AFTER.outcomes[1:]]})
    assert (
        compare_releases(("v1", BEFORE), ("v2", changed), EVALUATION, as_stored).cases
        == len(BEFORE.outcomes) - 1
    )


def test_releases_without_a_shared_case_are_refused() -> None:
    other = [one.model_copy(update={"id": f"other-{one.id}"}) for one in AFTER.outcomes]
    with pytest.raises(StepladderError, match="share no case"):
        compare_releases(
            ("v1", BEFORE), ("v2", AFTER.model_copy(update={"outcomes": other})), EVALUATION, as_stored
        )


def test_answers_that_two_scorers_scored_are_scored_by_one(tmp_path: Path) -> None:
    strictly = [one.model_copy(update={"score": 0.0, "exact": False}) for one in BEFORE.outcomes]
    before = BEFORE.model_copy(update={"outcomes": strictly})
    task = Task(tmp_path, SPEC.model_copy(update={"abstention": "Not there."}), "Answer.")
    with Cache(tmp_path / "c.sqlite") as cache:
        found = compare_releases(
            ("v1", before), ("v2", BEFORE), EVALUATION, lambda one: rescored(task, one, cache)
        )
    assert (found.gained, found.lost, found.comparison.difference) == ([], [], 0.0)
    assert found.score_before > 0


def test_answers_that_the_present_scorer_cannot_score_are_refused(tmp_path: Path) -> None:
    task = Task(tmp_path, SPEC.model_copy(update={"scorer": "issue-f1"}), "Answer.")
    with (
        Cache(tmp_path / "c.sqlite") as cache,
        pytest.raises(StepladderError, match="issue-f1 cannot score") as refused,
    ):
        rescored(task, BEFORE, cache)
    assert "case-0000" in refused.value.what
