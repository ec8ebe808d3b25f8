"""The base model's rungs and probes, for all tasks with one engine."""

from __future__ import annotations

import shutil
from pathlib import Path

from stepladder.console import say
from stepladder.data.prepare import Prepared, load_prepared
from stepladder.evaluation.evaluate import as_cases
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.respond import responding
from stepladder.evaluation.summary import summarise
from stepladder.evaluation.variants import Choice, choose, variants
from stepladder.files import writing
from stepladder.ladder.diagnose import PASS
from stepladder.models import require_base
from stepladder.prompting.compose import Plan
from stepladder.stages.answering import Assistant, contexts_of, responder_for, tell
from stepladder.stages.workspace import Workspace, save, save_outcomes
from stepladder.tasks import Case, Rung, Task

GOLD_EVIDENCE = "gold-evidence"


def run(workspace: Workspace) -> None:
    """Write, per task, the outcomes of ``prompt``, ``rag`` and the gold-evidence probe, and their plans."""
    base = require_base(workspace.settings.models.base)
    tasks = [workspace.task(name) for name in workspace.settings.tasks]
    with (
        workspace.responses() as cache,
        responding(responder_for(workspace, cache, base, base, None)) as responder,
    ):
        for task in tasks:
            with writing(workspace.base(task.name)) as draft, contexts_of(workspace, task) as contexts:
                _climb_cheap_rungs(workspace, Assistant(task, contexts, responder), draft)
        _forget_other_tasks(workspace)
        say(f"evaluate: {responder.asked} responses asked of the engine, the others were known")


def _climb_cheap_rungs(workspace: Workspace, assistant: Assistant, out: Path) -> None:
    rows = load_prepared(workspace.prepared(assistant.task.name))
    for rung in cheap_rungs(assistant.task):
        choice = _choose(workspace, assistant, rung, rows)
        outcomes = assistant.answer(choice.plan, rows.cases)
        save(out / f"{rung}.plan.json", choice)
        save_outcomes(out, outcomes)
        tell(workspace, outcomes)
        if rung == "rag":
            save_outcomes(out, _probe_gold(assistant, choice.plan, outcomes, rows.cases))


def _forget_other_tasks(workspace: Workspace) -> None:
    """Outcomes of tasks that ``params.yaml`` no longer names; the output is all of ``build/base``."""
    for folder in workspace.base("").iterdir():
        if folder.name not in workspace.settings.tasks:
            shutil.rmtree(folder)


def cheap_rungs(task: Task) -> list[Rung]:
    """The task's rungs without an adapter."""
    return [rung for rung in task.rungs if not rung.startswith("lora")]


def _choose(workspace: Workspace, assistant: Assistant, rung: Rung, rows: Prepared) -> Choice:
    """The variant that does best on dev."""
    spec = assistant.task.spec
    shots = rows.few_shot[: workspace.settings.evaluation.few_shot]
    plans = variants(rung, spec, shots, workspace.settings.size.context_tokens)
    dev = as_cases(rows.dev, spec.scorer)

    def score(plan: Plan) -> float:
        outcomes = assistant.answer(plan, dev, "dev")
        return summarise(outcomes, workspace.settings.evaluation, workspace.settings.seed).score

    return choose(plans, score, len(dev))


def _probe_gold(assistant: Assistant, plan: Plan, rag: RungOutcomes, cases: list[Case]) -> RungOutcomes:
    """What the model says when it is given the evidence itself, where rag fails and evidence exists."""
    failing = {outcome.id for outcome in rag.outcomes if outcome.score < PASS}
    asked = [case for case in cases if case.id in failing and case.evidence]
    gold = assistant.contexts.gold([case.evidence for case in asked])
    return assistant.answer_from(gold, plan, asked, f"{GOLD_EVIDENCE} probe").model_copy(
        update={"rung": GOLD_EVIDENCE}
    )
