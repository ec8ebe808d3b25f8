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
    prompt: dict[str, str], other: dict[str, str], read: dict[str, bool] | None = None, name: str = "lora"
) -> list[Suspect]:
    return suspects(SPEC, CASES, {"prompt": said("prompt", prompt), name: said(name, other)}, read or {})


def test_two_that_agree_on_an_uncommon_answer_are_heard() -> None:
    (one,) = listed({"3": "Other."}, {"3": "other"})
    assert (one.id, one.agreeing, one.rungs) == ("3", ["lora", "prompt"], ["lora", "prompt"])
    assert one.disputed
    assert one.chance == pytest.approx((0.5 / 41) ** 2, abs=1e-8)


def test_a_rung_and_its_probe_are_one_witness_whose_word_makes_a_suspect_only() -> None:
    (one,) = listed({"3": "Other."}, {"3": "other"}, name="few-shot")
    assert (one.agreeing, one.rungs) == (["few-shot", "prompt"], ["prompt"])
    assert not one.disputed
    assert one.chance == pytest.approx(0.5 / 41, abs=1e-8), "heard once: not squared"


def with_documents(prompt: dict[str, str]) -> list[Suspect]:
    """Case 3 names evidence, which retrieval gave to ``rag``; with it the model says something else."""
    cases = {**CASES, "3": CASES["3"].model_copy(update={"evidence": ["page"]})}
    found = said("rag", {"3": "other"})
    rows = [one.model_copy(update={"retrieved": ["page#"]}) for one in found.outcomes]
    by_name = {
        "prompt": said("prompt", prompt),
        "rag": found.model_copy(update={"outcomes": rows}),
        "gold-evidence": said("gold-evidence", {"3": "other"}),
    }
    return suspects(SPEC, cases, by_name, {})


def test_a_rung_without_documents_is_a_witness_where_it_agrees_and_none_where_it_does_not() -> None:
    (alone,) = with_documents({"3": "anything"})
    assert (alone.rungs, alone.disputed) == (["rag"], False)
    (two,) = with_documents({"3": "other"})
    assert (two.rungs, two.disputed) == (["prompt", "rag"], True)
    assert with_documents({}) == [], "one that gives the reference speaks for it"


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
