"""Ask the probes that tell why cases fail, each only of the cases whose cause is still open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stepladder.evaluation.evidence import Places, place_of
from stepladder.evaluation.records import RungOutcomes
from stepladder.knowledge.chunk import Chunk
from stepladder.ladder.attribution import Tried, facts_of
from stepladder.ladder.causes import FORM_PROBES, Probe, next_probe, passes
from stepladder.ladder.suspects import reads_in
from stepladder.prompting.compose import Plan
from stepladder.stages.answering import Assistant
from stepladder.tasks import Case, Example, Task

_MOST_LABELS = 32  # distinct answers in the examples up to which a task's answers count as a closed set


def ask_probes(
    assistant: Assistant,
    plans: Mapping[str, Plan],
    cheap: Mapping[str, RungOutcomes],
    cases: Sequence[Case],
    examples: Sequence[Example],
    shots: Sequence[Example],
) -> dict[Probe, RungOutcomes]:
    """Outcomes by probe, over the cases that needed it.

    Args:
        assistant: the task, its documents and the model.
        plans: of the rungs without an adapter: a probe changes one thing of the one that fails.
        cheap: outcomes of the rungs without an adapter.
        cases: what was asked.
        examples: training rows, for the set of answers that there are.
        shots: the examples that the few-shot probe shows.
    """
    changed = {rung: _changed_plans(assistant.task, plan, examples, shots) for rung, plan in plans.items()}
    asked: dict[Probe, RungOutcomes] = {}
    while True:
        tried = Tried(spec=assistant.task.spec, cases=cases, cheap=cheap, probes=asked)
        wanted: dict[tuple[Probe, str], list[Case]] = {}
        for facts in facts_of(tried):
            probe = next_probe(replace(facts, possible=frozenset(changed[facts.probed])))
            if probe:
                rung = facts.probed if probe in FORM_PROBES else "rag"
                wanted.setdefault((probe, rung), []).append(facts.case)
        if not wanted:
            return asked
        for (probe, rung), open_cases in wanted.items():
            task, how = changed[rung].get(probe, (assistant.task, plans[rung]))
            outcomes = _ask(replace(assistant, task=task), how, probe, open_cases)
            asked[probe] = _joined(asked.get(probe), outcomes)


def find_places(assistant: Assistant, rag: RungOutcomes, cases: Sequence[Case], depth: int) -> Places:
    """Where the evidence stood, of the cases that ``rag`` fails and that name any."""
    outcomes = {outcome.id: outcome for outcome in rag.outcomes}
    failing = [case for case in cases if case.evidence and not passes(outcomes[case.id])]
    retriever = assistant.contexts.retriever
    if retriever is None or not failing:
        return Places(depth=depth)
    ranked = retriever.retrieve_many([case.input for case in failing], depth)
    gold = assistant.contexts.gold([case.evidence for case in failing])
    return Places(
        depth=depth,
        by_case={
            case.id: place_of(
                case,
                [one.chunk.id for one in found],
                outcomes[case.id].retrieved,
                reads_in(case.reference, "\n".join(chunk.text for chunk in holding)),
            )
            for case, found, holding in zip(failing, ranked, gold, strict=True)
        },
    )


def _ask(assistant: Assistant, plan: Plan, probe: Probe, cases: Sequence[Case]) -> RungOutcomes:
    contexts = _contexts(assistant, plan, probe, cases)
    return assistant.answer_from(contexts, plan, cases, f"{probe} probe").model_copy(update={"rung": probe})


def _contexts(assistant: Assistant, plan: Plan, probe: Probe, cases: Sequence[Case]) -> list[list[Chunk]]:
    """What a probe shows: the evidence alone, or where there is none to name what the rung retrieves."""
    if not plan.retrieval:
        return [[] for _ in cases]
    gold = assistant.contexts.gold([case.evidence for case in cases])
    found = assistant.contexts.retrieved([case.input for case in cases])
    if probe == "gold-among-distractors":
        return [_among(holding, given) for holding, given in zip(gold, found, strict=True)]
    return [holding or given for holding, given in zip(gold, found, strict=True)]


def _among(gold: Sequence[Chunk], found: Sequence[Chunk]) -> list[Chunk]:
    """As if retrieval had found the evidence: it comes first, and the last chunk goes for it."""
    held = {chunk.id for chunk in gold}
    return [*gold, *(chunk for chunk in found[:-1] if chunk.id not in held)]


def _changed_plans(
    task: Task, plan: Plan, examples: Sequence[Example], shots: Sequence[Example]
) -> dict[Probe, tuple[Task, Plan]]:
    """The form probes that the plan leaves open: constrained decoding and examples in the prompt."""
    changed: dict[Probe, tuple[Task, Plan]] = {}
    schema = task.spec.output_schema or closed_set(examples)
    if schema and not plan.constrained:
        with_schema = replace(task, spec=task.spec.model_copy(update={"output_schema": schema}))
        changed["constrained"] = (with_schema, plan.model_copy(update={"constrained": True}))
    if shots and not plan.shots:
        changed["few-shot"] = (task, plan.model_copy(update={"shots": tuple(shots)}))
    return changed


def closed_set(examples: Sequence[Example]) -> dict[str, Any] | None:
    """A schema that allows the examples' answers only, where they are few and each is given twice or more."""
    counts = Counter(example.output for example in examples)
    if not counts or len(counts) > _MOST_LABELS or min(counts.values()) < 2:
        return None
    return {"type": "string", "enum": sorted(counts)}


def _joined(earlier: RungOutcomes | None, later: RungOutcomes) -> RungOutcomes:
    if earlier is None:
        return later
    return later.model_copy(update={"outcomes": [*earlier.outcomes, *later.outcomes]})
