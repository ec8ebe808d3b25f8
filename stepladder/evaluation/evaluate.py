"""Run one rung or probe over cases: compose, ask, score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepladder.cache import Cache
from stepladder.console import OnProgress
from stepladder.data.references import reference_fault
from stepladder.errors import StepladderError
from stepladder.evaluation.records import JudgeRecord, Outcome, RungOutcomes
from stepladder.evaluation.respond import Responder
from stepladder.evaluation.score import Score, score_response
from stepladder.knowledge.chunk import Chunk
from stepladder.prompting.compose import Plan, compose
from stepladder.tasks import Case, Example, Task

_OF_A_CASE = set(Case.model_fields) & set(Outcome.model_fields)


def evaluate(
    task: Task,
    plan: Plan,
    cases: Sequence[Case],
    contexts: Sequence[Sequence[Chunk]],
    responder: Responder,
    count_tokens: Callable[[str], int],
    progress: OnProgress = lambda _done, _all: None,
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
    texts = [response.text for response in responses]
    judge, scores = score_responses(task, cases, texts, responder.cache)
    outcomes = []
    for case, (_, sources), response, score in zip(cases, composed, responses, scores, strict=True):
        outcomes.append(
            Outcome(
                **case.model_dump(include={"id", "input", "reference", "answerable", "slice", "cluster"}),
                **score.model_dump(),
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
        judge=judge,
    )


def score_responses(
    task: Task, cases: Sequence[Case], texts: Sequence[str], cache: Cache
) -> tuple[JudgeRecord | None, list[Score]]:
    """A score for each answer, and the judge that gave it where it is not a rule that does.

    Raises:
        StepladderError: the task's judge is not admitted, or does not answer.
    """
    if task.spec.scorer != "judge":
        return None, [score_response(task.spec, case, text) for case, text in zip(cases, texts, strict=True)]
    from stepladder.evaluation.judge import Judged, admit, ask_judge, judge_of

    record = admit(task.spec, task.folder, cache)
    rows = [
        Judged(input=case.input, reference=case.reference, response=text)
        for case, text in zip(cases, texts, strict=True)
    ]
    called = ask_judge(judge_of(task.spec), rows, cache)
    return record, [Score(score=float(right), exact=right) for right in called]


def rescored(task: Task, said: RungOutcomes, cache: Cache) -> RungOutcomes:
    """The same responses as the task scores now: a stored score is that of the scorer of its day.

    Raises:
        StepladderError: the task's scorer cannot read a reference, or its judge is not admitted or silent.
    """
    cases = [Case(**one.model_dump(include=_OF_A_CASE)) for one in said.outcomes]
    for case in cases:
        if fault := reference_fault(task.spec, case.reference, answerable=case.answerable):
            raise StepladderError(
                f"the scorer {task.spec.scorer} cannot score what {said.rung} answered to {case.id}: {fault}",
                where=f"{said.task}, a stored case",
                remedy="the scorer or the reference changed since it was asked: mend scorer in task.yaml",
            )
    judge, scores = score_responses(task, cases, [one.response.text for one in said.outcomes], cache)
    outcomes = [
        one.model_copy(update={name: getattr(score, name) for name in Score.model_fields})
        for one, score in zip(said.outcomes, scores, strict=True)
    ]
    return said.model_copy(update={"outcomes": outcomes, "judge": judge})


def as_cases(examples: Sequence[Example], scorer: str) -> list[Case]:
    """Held-out examples as cases, so that a prompt variant is chosen without touching the test.

    Each is a single question, as cases are: ``stepladder.data.split`` holds out no conversation.
    """
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
