"""Advice for a task with few cases or none: the decision tree, with published expectations, not measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import Field

from stepladder.settings import Settings
from stepladder.tasks import Strict
from stepladder.tuning.estimate import rough_estimate

Step = Literal["prompt", "rag", "lora", "lora+rag", "smaller-model", "collect", "nothing"]

NOT_MEASURED = "Not measured on your data: this follows from your answers and from published results."
_TOKENS_EACH = 300  # of an example, question and answer: assumed
_CASES_TO_BEGIN = 100  # fewer leave intervals of 10 points and more either way


class Situation(Strict):
    """What is known about a task. Descriptions are the questions that `stepladder advise` asks."""

    good_enough: bool = Field(description="Are the answers good enough as they are?")
    prompt_tried: bool = Field(description="Have you tried a careful prompt with a few examples in it?")
    facts_missing: bool = Field(
        description="Do right answers need facts that the model does not know, such as your runbooks?"
    )
    documents: bool = Field(description="Do those facts stand in documents?")
    wrong_with_facts: bool = Field(
        description="With the right document in the prompt, is the answer still wrong in form or judgement?"
    )
    too_slow_or_dear: bool = Field(description="Is it too slow or too expensive?")
    examples: int = Field(ge=0, description="How many labelled examples of right answers have you?")
    cases: int = Field(ge=0, description="How many test cases, kept apart from the examples, have you?")
    monthly_requests: int = Field(gt=0, description="How many requests a month?")


class Asking:
    """A situation of which each question is asked when the tree comes to it, once, and others never.

    Args:
        ask: the answer to a question, by the name of its field in ``Situation``.
    """

    def __init__(self, ask: Callable[[str], bool | int]) -> None:
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        if name not in Situation.model_fields:
            raise AttributeError(name)
        answer = self._ask(name)
        setattr(self, name, answer)
        return answer


class Advice(Strict):
    """The step to take next, the way through the tree to it, and how to measure whether it helps."""

    step: Step
    name: str
    because: list[str]
    expectation: str
    source: str | None
    cost_per_month: str
    cost_of_step: str
    measure: list[str]
    note: str = NOT_MEASURED


class _Published(Strict):
    name: str
    expectation: str
    source: str | None


def advise(situation: Situation | Asking, task: str, settings: Settings) -> Advice:
    """Walk the tree: cheapest step first, training only for a gap in behaviour that remains.

    Args:
        situation: the answers, or how to ask for them.
        task: the name to use in commands.
        settings: how many examples are enough, stated rates and prices.
    """
    step, because = _walk(situation, settings.tuning.min_examples)
    published = _published()[step]
    return Advice(
        step=step,
        name=published.name,
        because=because,
        expectation=published.expectation,
        source=published.source,
        cost_per_month=_cost(situation.monthly_requests, settings.cost.engine_per_hour),
        cost_of_step="; ".join(_costs_of(step, situation, task, settings)),
        measure=_measure(situation, task, step),
    )


def _walk(s: Situation | Asking, min_examples: int) -> tuple[Step, list[str]]:
    """The reasons that hold, from the root of the tree to the step that the last of them calls for."""
    because = []
    for holds, reason, step in _tree(s, min_examples):
        if holds:
            because.append(reason.format(s=s, least=min_examples))
            if step:
                return step, because
    raise AssertionError("the last branch always holds")


def _tree(s: Situation | Asking, min_examples: int) -> Iterator[tuple[bool, str, Step | None]]:
    """Branches in order, cheapest step first: does it hold, why, and the step that it ends in, if any.

    An answer is looked up where a branch that was come to needs it, and not before.
    """
    too_few = "{s.examples:,} examples are fewer than {least:,}"
    good = s.good_enough
    yield good and not s.too_slow_or_dear, "the answers are good, fast and cheap enough", "nothing"
    yield good, "the answers are good enough, but too slow or too expensive", None
    few = f"a smaller model has to be tuned, and {too_few}: keep answers that pass"
    yield good and s.examples < min_examples, few, "collect"
    yield good, "{s.examples:,} examples are enough to tune a smaller model", "smaller-model"
    yield True, "the answers are not good enough", None
    yield not s.prompt_tried, "a careful prompt was not tried yet, and is the cheapest step", "prompt"
    yield True, "a careful prompt was not enough", None
    unwritten = s.facts_missing and not s.documents
    yield unwritten, "facts are missing and stand in no document: write them down first", "collect"
    right = not s.wrong_with_facts
    yield s.facts_missing and right, "facts are missing and stand in documents", "rag"
    yield right, "neither facts nor behaviour seem missing: cases would show more", "collect"
    yield True, "the answers stay wrong even with the right document at hand", None
    yield s.examples < min_examples, f"that calls for training, and {too_few}", "collect"
    yield s.facts_missing, "facts are missing too, and stand in documents", "lora+rag"
    yield True, "{s.examples:,} examples are enough to train on", "lora"


def _cost(monthly_requests: int, engine_per_hour: float) -> str:
    """One engine kept up all month: what is paid whatever the rung, before anything was measured."""
    month = engine_per_hour * 730
    return (
        f"one engine all month at ${engine_per_hour:.2f} an hour: ${month:,.0f},"
        f" ${month / monthly_requests * 1000:,.2f} per 1,000 requests if it keeps up with them"
    )


def _costs_of(step: Step, situation: Situation | Asking, task: str, settings: Settings) -> Iterator[str]:
    """What the step itself adds, at stated rates and prices: not measured."""
    cost, context = settings.cost, settings.size.context_tokens
    if step == "nothing":
        yield "nothing is added"
    if step == "collect":
        yield "the time of the people who write and check them; nothing runs"
    if step == "prompt":
        yield _longer(settings.evaluation.few_shot * _TOKENS_EACH, situation.monthly_requests, "examples")
    if step in ("rag", "lora+rag"):
        yield _longer(context, situation.monthly_requests, "passages (sizes.context_tokens)")
        yield (
            f"all documents are embedded anew {cost.index_rebuilds_per_month:g} times a month, at"
            f" ${cost.engine_per_hour:.2f} for each hour that it takes"
        )
    if step in ("lora", "lora+rag", "smaller-model"):
        each = _TOKENS_EACH + (context if step == "lora+rag" else 0)
        budget, rate = settings.size.tokens_to_train(task), settings.stated_tokens_per_s
        takes = rough_estimate(situation.examples, each, budget, settings, rate)
        month = takes.cost / cost.adapter_life_months
        yield (
            f"training on {situation.examples:,} examples of some {each:,} tokens, epochs"
            f" {settings.tuning.epochs}, {budget:,} tokens at most: {takes.summary()} at the stated rate,"
            f" ${month:.3f} a month over {cost.adapter_life_months:g} months"
        )


def _longer(tokens: int, monthly_requests: int, what: str) -> str:
    return (
        f"{what} in the prompt: some {tokens:,} more tokens to read with every request,"
        f" {tokens * monthly_requests:,} a month"
    )


def _measure(situation: Situation | Asking, task: str, step: Step) -> list[str]:
    """Commands, in order, that would replace this advice by a measurement."""
    steps = []
    if situation.cases < _CASES_TO_BEGIN:
        steps.append(
            f"write cases into tasks/{task}/cases.jsonl: you have {situation.cases:,}, and fewer than"
            f" {_CASES_TO_BEGIN} leave intervals of 10 points and more either way"
        )
    if step == "smaller-model":
        steps.append("set models.base in params.yaml to a smaller model")
    return [*steps, f"stepladder plan {task}", "stepladder climb"]


@cache
def _published() -> dict[str, _Published]:
    text = files(__package__).joinpath("advice.yaml").read_text(encoding="utf-8")
    return {step: _Published.model_validate(row) for step, row in yaml.safe_load(text)["steps"].items()}
