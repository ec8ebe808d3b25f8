"""Choose a rung's prompt variant on held-out examples, never on the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepladder.prompting.compose import Plan
from stepladder.tasks import Example, Rung, Strict, TaskSpec


class Choice(Strict):
    """The variant chosen, and the dev score of each variant tried."""

    plan: Plan
    dev_scores: dict[str, float]
    dev_rows: int


def variants(rung: Rung, spec: TaskSpec, shots: Sequence[Example], context_tokens: int) -> list[Plan]:
    """Zero-shot and few-shot, each with constrained decoding where the task has a schema."""
    constrained = spec.output_schema is not None
    zero = Plan(rung=rung, constrained=constrained, context_tokens=context_tokens)
    return [zero, zero.model_copy(update={"shots": tuple(shots)})] if shots else [zero]


def choose(plans: Sequence[Plan], score: Callable[[Plan], float], dev_rows: int) -> Choice:
    """The plan with the best dev score; on a tie the earlier, which is the cheaper."""
    scores = {plan.variant: round(score(plan), 6) for plan in plans}
    best = max(plans, key=lambda plan: scores[plan.variant])  # the first of equals
    return Choice(plan=best, dev_scores=scores, dev_rows=dev_rows)
