"""Run one rung or probe over cases: compose, ask, score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.respond import Progress, Responder
from stepladder.evaluation.score import score_response
from stepladder.knowledge.chunk import Chunk
from stepladder.prompting.compose import Plan, compose
from stepladder.tasks import Case, Example, Task

Contexts = Sequence[Sequence[Chunk]]


def evaluate(
    task: Task,
    plan: Plan,
    cases: Sequence[Case],
    contexts: Contexts,
    responder: Responder,
    count_tokens: Callable[[str], int],
    progress: Progress = lambda _done, _all: None,
) -> RungOutcomes:
    """Answer and score every case.

    Args:
        task: prompt and scorer.
        plan: the rung and its variant.
        cases: what is asked.
        contexts: per case, the chunks to choose from, best first; empty for rungs without retrieval.
        responder: the model.
        count_tokens: for the context budget.
        progress: called with (done, all) while the engine answers.
    """
    composed = [
        compose(task, plan, case.input, context, count_tokens)
        for case, context in zip(cases, contexts, strict=True)
    ]
    names = [f"{task.name} {plan.rung} ({plan.variant}), case {case.id}" for case in cases]
    responses = responder.respond([request for request, _ in composed], progress, names)
    outcomes = []
    for case, (_, sources), response in zip(cases, composed, responses, strict=True):
        outcomes.append(
            Outcome(
                **case.model_dump(include={"id", "input", "reference", "answerable", "slice", "cluster"}),
                **score_response(task.spec, case, response.text).model_dump(),
                retrieved=[chunk.id for chunk in sources],
                response=response,
            )
        )
    return RungOutcomes(
        task=task.name,
        rung=plan.rung,
        variant=plan.variant,
        model_digest=responder.model_digest,
        adapter_digest=responder.adapter_digest,
        outcomes=outcomes,
    )


def as_cases(examples: Sequence[Example], scorer: str) -> list[Case]:
    """Held-out examples as cases, so that a prompt variant is chosen without touching the test."""
    import json

    return [
        Case(
            id=example.id,
            input=example.input,
            reference=json.loads(example.output) if scorer == "issue-f1" else example.output,
            answerable=example.answerable,
            evidence=example.evidence,
            slice=example.slice,
            cluster=example.cluster or example.id,
        )
        for example in examples
    ]
