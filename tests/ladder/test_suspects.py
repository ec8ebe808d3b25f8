"""Agreement counts as evidence against a reference only where it is more than habit."""

from __future__ import annotations

import pytest

from stepladder.evaluation.records import Outcome, Response, RungOutcomes
from stepladder.ladder.suspects import Suspect, reads_in, suspects
from stepladder.tasks import Bars, Case, TaskSpec

SPEC = TaskSpec(
    title="t",
    scorer="exact",
    bars=Bars(score=0.8),
    margin=0.05,
    monthly_requests=1,
    abstention="I do not know",
)
CASES = {f"{i}": Case(id=f"{i}", input="q", reference=f"right-{i}", cluster=f"{i}") for i in range(40)}


def said(rung: str, answers: dict[str, str]) -> RungOutcomes:
    """A rung that is right unless ``answers`` says otherwise."""
    rows = [
        Outcome(
            **case.model_dump(include={"id", "input", "reference", "answerable", "slice", "cluster"}),
            score=float(case.id not in answers),
            exact=case.id not in answers,
            valid=True,
            response=Response(
                text=answers.get(case.id, f"right-{case.id}"),
                prompt_tokens=1,
                completion_tokens=1,
                latency_ms=1,
                engine_s=1,
            ),
        )
        for case in CASES.values()
    ]
    return RungOutcomes(
        task="t", rung=rung, variant="zero-shot", model_digest="m", adapter_digest=None, outcomes=rows
    )


def listed(
    prompt: dict[str, str], few_shot: dict[str, str], read: dict[str, bool] | None = None
) -> list[Suspect]:
    return suspects(
        SPEC, CASES, {"prompt": said("prompt", prompt), "few-shot": said("few-shot", few_shot)}, read or {}
    )


def test_two_that_agree_on_an_uncommon_answer_are_heard() -> None:
    (one,) = listed({"3": "Other."}, {"3": "other"})
    assert (one.id, one.agreeing) == ("3", ["few-shot", "prompt"])
    assert one.chance < 0.001


def test_two_that_differ_or_one_that_is_right_are_not() -> None:
    assert listed({"3": "this"}, {"3": "that"}) == []
    assert listed({"3": "this"}, {}) == []


def test_a_stock_answer_is_no_evidence() -> None:
    everywhere = dict.fromkeys(list(CASES)[:20], "no issues")
    assert listed(everywhere, everywhere) == []


def test_a_short_answer_that_each_gives_now_and_then_is_none_either() -> None:
    often = dict.fromkeys(list(CASES)[:4], "no")
    assert listed(often, often) == []


def test_abstaining_together_is_no_evidence() -> None:
    assert listed({"3": "I do not know."}, {"3": "i do not know"}) == []


def test_a_reference_that_stands_in_the_evidence_is_believed() -> None:
    assert listed({"3": "other"}, {"3": "other"}, {"3": True}) == []
    assert len(listed({"3": "other"}, {"3": "other"}, {"3": False})) == 1


@pytest.mark.parametrize(
    ("reference", "evidence", "found"),
    [
        ("present", "The default is `present`.", True),
        (["present", "absent"], "Choices: absent, present", True),
        (["present", "latest"], "Choices: absent, present", False),
        ("5", "It waits 0.55 seconds.", False),
        ("no", "There is no default.", None),
        ({"cost": []}, "anything", None),
    ],
)
def test_reading_a_reference_in_the_evidence(reference: object, evidence: str, found: bool | None) -> None:
    assert reads_in(reference, evidence) is found
