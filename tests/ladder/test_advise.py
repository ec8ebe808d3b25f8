"""Advice follows the tree, cites what it claims, and never passes for a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.ladder.advise import NOT_MEASURED, Asking, Situation, advise
from stepladder.settings import load_settings

SETTINGS = load_settings(Path(__file__).parents[2] / "params.yaml").model_copy(update={"hardware": "cpu"})
KNOWN: dict[str, Any] = {
    "good_enough": False,
    "prompt_tried": True,
    "facts_missing": False,
    "documents": False,
    "wrong_with_facts": True,
    "too_slow_or_dear": False,
    "examples": 1500,
    "cases": 300,
    "monthly_requests": 100_000,
}

SITUATIONS = st.builds(
    Situation,
    **{name: st.booleans() for name, value in KNOWN.items() if isinstance(value, bool)},
    examples=st.integers(0, 5000),
    cases=st.integers(0, 1000),
    monthly_requests=st.integers(1, 10**9),
)


def step(**changes: Any) -> str:
    return advise(Situation(**{**KNOWN, **changes}), "runbooks", SETTINGS).step


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"good_enough": True}, "nothing"),
        ({"good_enough": True, "too_slow_or_dear": True}, "smaller-model"),
        ({"good_enough": True, "too_slow_or_dear": True, "examples": 10}, "collect"),
        ({"prompt_tried": False, "facts_missing": True, "documents": True}, "prompt"),
        ({"facts_missing": True, "documents": True, "wrong_with_facts": False}, "rag"),
        ({"facts_missing": True, "documents": False}, "collect"),
        ({"facts_missing": True, "documents": True}, "lora+rag"),
        ({}, "lora"),
        ({"examples": 999}, "collect"),
        ({"wrong_with_facts": False}, "collect"),
    ],
)
def test_the_step_is_the_cheapest_that_can_help(changes: dict[str, Any], expected: str) -> None:
    assert step(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"good_enough": True}, ["good_enough", "too_slow_or_dear"]),
        (
            {"good_enough": True, "too_slow_or_dear": True},
            ["good_enough", "too_slow_or_dear", "examples"],
        ),
        ({"prompt_tried": False}, ["good_enough", "prompt_tried"]),
        ({"facts_missing": True}, ["good_enough", "prompt_tried", "facts_missing", "documents"]),
        (
            {"facts_missing": True, "documents": True, "wrong_with_facts": False},
            ["good_enough", "prompt_tried", "facts_missing", "documents", "wrong_with_facts"],
        ),
        ({}, ["good_enough", "prompt_tried", "facts_missing", "wrong_with_facts", "examples"]),
    ],
)
def test_a_question_is_asked_only_while_its_answer_matters(changes: dict[str, Any], asked: list[str]) -> None:
    heard: list[str] = []

    def answer(name: str) -> Any:
        heard.append(name)
        return {**KNOWN, **changes}[name]

    advise(Asking(answer), "runbooks", SETTINGS)
    assert heard == [*asked, "monthly_requests", "cases"]


@given(SITUATIONS)
def test_asked_or_given_the_advice_is_the_same_and_nothing_is_asked_twice(situation: Situation) -> None:
    heard: list[str] = []

    def answer(name: str) -> Any:
        heard.append(name)
        return getattr(situation, name)

    assert advise(Asking(answer), "runbooks", SETTINGS) == advise(situation, "runbooks", SETTINGS)
    assert len(heard) == len(set(heard))


@given(SITUATIONS)
def test_it_always_says_why_what_to_expect_and_that_nothing_was_measured(situation: Situation) -> None:
    found = advise(situation, "runbooks", SETTINGS)
    assert found.because
    assert found.expectation
    assert found.source or found.step in ("collect", "nothing")
    assert found.note == NOT_MEASURED
    assert found.measure[-1] == "stepladder climb"


@given(SITUATIONS)
def test_training_is_never_advised_without_enough_examples_or_before_a_prompt(situation: Situation) -> None:
    found = advise(situation, "runbooks", SETTINGS).step
    if found in ("lora", "lora+rag", "smaller-model"):
        assert situation.examples >= 1000
        assert situation.prompt_tried or situation.good_enough


def test_a_smaller_model_is_measured_by_naming_it_first() -> None:
    slow = Situation(**{**KNOWN, "good_enough": True, "too_slow_or_dear": True})
    found = advise(slow, "runbooks", SETTINGS)
    assert found.step == "smaller-model"
    assert any("models.base" in line for line in found.measure)


def test_too_few_cases_come_first_among_what_to_do() -> None:
    found = advise(Situation(**{**KNOWN, "cases": 20}), "runbooks", SETTINGS)
    assert "tasks/runbooks/cases.jsonl" in found.measure[0]


def test_the_cost_is_that_of_an_engine_kept_up_all_month() -> None:
    found = advise(Situation(**KNOWN), "runbooks", SETTINGS)
    assert "$73," in found.cost_per_month
    assert "$0.73 per 1,000 requests" in found.cost_per_month


def cost_of_step(**changes: Any) -> str:
    return advise(Situation(**{**KNOWN, **changes}), "runbooks", SETTINGS).cost_of_step


def test_training_is_priced_by_examples_tokens_epochs_rate_and_price() -> None:
    tuning, cost = SETTINGS.tuning, SETTINGS.cost
    tokens = min(100 * 300 * tuning.epochs, SETTINGS.size.tokens_to_train("runbooks"))
    dollars = tokens / tuning.cpu_tokens_per_s / 3600 * cost.training_per_hour
    few = SETTINGS.model_copy(update={"tuning": tuning.model_copy(update={"min_examples": 100})})
    found = advise(Situation(**{**KNOWN, "examples": 100}), "runbooks", few)
    assert found.step == "lora"
    assert f"{tokens:,} tokens at {tuning.cpu_tokens_per_s:.0f}/s" in found.cost_of_step
    assert f"${dollars:.3f} at the stated rate" in found.cost_of_step
    assert f"${dollars / cost.adapter_life_months:.3f} a month" in found.cost_of_step


def test_a_longer_prompt_and_the_upkeep_of_an_index_are_told() -> None:
    assert "1,200 more tokens to read with every request, 120,000,000 a month" in cost_of_step(
        prompt_tried=False
    )
    rag = cost_of_step(facts_missing=True, documents=True, wrong_with_facts=False)
    assert f"some {SETTINGS.size.context_tokens:,} more tokens" in rag
    assert "all documents are embedded anew 1 times a month" in rag
    both = cost_of_step(facts_missing=True, documents=True)
    assert "embedded anew" in both
    assert "training on 1,500 examples" in both
    assert cost_of_step(good_enough=True) == "nothing is added"
