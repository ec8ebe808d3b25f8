"""Choose a rung's prompt variant on held-out examples, never on the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepladder.evaluation.records import RungOutcomes
from stepladder.prompting.compose import Plan
from stepladder.tasks import Example, Rung, Strict, TaskSpec


class Choice(Strict):
    """The variant chosen, and the mean dev score of each variant tried."""

    plan: Plan
    dev_scores: dict[str, float]
    dev_rows: int


def variants(rung: Rung, spec: TaskSpec, shots: Sequence[Example], context_tokens: int) -> list[Plan]:
    """Zero-shot and few-shot, each with constrained decoding where the task has a schema."""
    constrained = spec.output_schema is not None
    zero = Plan(rung=rung, constrained=constrained, context_tokens=context_tokens)
    return [zero, zero.model_copy(update={"shots": tuple(shots)})] if shots else [zero]


def choose(plans: Sequence[Plan], score: Callable[[Plan], RungOutcomes]) -> Choice:
    """The plan with the best mean dev score; on a tie the earlier, which is the cheaper."""
    means: dict[str, float] = {}
    best, best_mean, rows = plans[0], -1.0, 0
    for plan in plans:
        outcomes = score(plan).outcomes
        rows = len(outcomes)
        mean = sum(outcome.score for outcome in outcomes) / rows
        means[plan.variant] = round(mean, 6)
        if mean > best_mean:
            best, best_mean = plan, mean
    return Choice(plan=best, dev_scores=means, dev_rows=rows)
