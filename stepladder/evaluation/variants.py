"""Choose a rung's prompt variant on held-out examples, never on the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import Field

from stepladder.prompting.compose import Plan
from stepladder.tasks import Example, Rung, Strict, TaskSpec


class Measured(NamedTuple):
    """A variant on dev: its score, and the mean prompt length that the engine counted, tokens."""

    score: float
    prompt_tokens: float


class Choice(Strict):
    """The variant chosen, and of each variant tried the dev score and mean prompt length, tokens."""

    plan: Plan
    dev_scores: dict[str, float]
    dev_prompt_tokens: dict[str, float] = Field(default={})
    dev_rows: int

    @property
    def dev_score(self) -> float:
        """The dev score of the variant chosen."""
        return self.dev_scores[self.plan.variant]


def variants(rung: Rung, spec: TaskSpec, shots: Sequence[Example], context_tokens: int) -> list[Plan]:
    """Zero-shot and few-shot, each with constrained decoding where the task has a schema."""
    constrained = spec.output_schema is not None
    zero = Plan(rung=rung, constrained=constrained, context_tokens=context_tokens)
    return [zero, zero.model_copy(update={"shots": tuple(shots)})] if shots else [zero]


def choose(plans: Sequence[Plan], measure: Callable[[Plan], Measured], dev_rows: int) -> Choice:
    """The plan with the best dev score; on a tie the earlier, which is the cheaper."""
    measured = {plan.variant: measure(plan) for plan in plans}
    scores = {variant: round(one.score, 6) for variant, one in measured.items()}
    best = max(plans, key=lambda plan: scores[plan.variant])  # the first of equals
    lengths = {variant: round(one.prompt_tokens, 1) for variant, one in measured.items()}
    return Choice(plan=best, dev_scores=scores, dev_prompt_tokens=lengths, dev_rows=dev_rows)
