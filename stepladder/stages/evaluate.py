"""The base model's rungs and probes, for all tasks with one engine."""

from __future__ import annotations

from pathlib import Path

from stepladder.console import progress, say
from stepladder.data.prepare import Prepared, load_prepared
from stepladder.evaluation.evaluate import as_cases, evaluate
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.respond import Responder, responding
from stepladder.evaluation.variants import Choice, choose, variants
from stepladder.files import writing
from stepladder.ladder.diagnose import PASS
from stepladder.models import require_base
from stepladder.prompting.compose import Plan
from stepladder.stages.answering import Contexts, ask_cases, contexts_of, responder_for, tell
from stepladder.stages.workspace import Workspace, save, save_outcomes
from stepladder.tasks import Case, Rung, Task

GOLD_EVIDENCE = "gold-evidence"


def run(workspace: Workspace) -> None:
    """Write, per task, the outcomes of ``prompt``, ``rag`` and the gold-evidence probe, and the plans chosen."""
    base = require_base(workspace.settings.models.base)
    tasks = [workspace.task(name) for name in workspace.settings.tasks]
    with (
        workspace.responses() as cache,
        responding(responder_for(workspace, cache, base, base, None)) as responder,
    ):
        for task in tasks:
            with writing(workspace.base(task.name)) as draft, contexts_of(workspace, task) as contexts:
                draft.mkdir()
                _evaluate_task(workspace, task, contexts, responder, draft)
        say(f"evaluate: {responder.asked} responses asked of the engine, the others were known")


def _evaluate_task(
    workspace: Workspace, task: Task, contexts: Contexts, responder: Responder, out: Path
) -> None:
    rows = load_prepared(workspace.prepared(task.name))
    rag = None
    for rung in task.rungs:
        if rung in ("prompt", "rag"):
            choice = _choose(workspace, task, rung, rows, contexts, responder)
            outcomes = ask_cases(task, choice.plan, rows.cases, contexts, responder)
            save(out / f"{rung}.plan.json", choice)
            save_outcomes(out, outcomes)
            tell(workspace, outcomes)
            rag = (choice.plan, outcomes) if rung == "rag" else rag
    if rag:
        save_outcomes(out, _probe_gold(task, *rag, rows.cases, contexts, responder))


def _choose(
    workspace: Workspace, task: Task, rung: Rung, rows: Prepared, contexts: Contexts, responder: Responder
) -> Choice:
    """The variant that does best on dev."""
    shots = rows.few_shot[: workspace.settings.evaluation.few_shot]
    plans = variants(rung, task.spec, shots, workspace.settings.size.context_tokens)
    dev = as_cases(rows.dev, task.spec.scorer)
    return choose(plans, lambda plan: ask_cases(task, plan, dev, contexts, responder, label="dev"))


def _probe_gold(
    task: Task, plan: Plan, rag: RungOutcomes, cases: list[Case], contexts: Contexts, responder: Responder
) -> RungOutcomes:
    """What the model says when it is given the evidence itself, where rag fails and evidence exists."""
    failing = {outcome.id for outcome in rag.outcomes if outcome.score < PASS}
    asked = [case for case in cases if case.id in failing and case.evidence]
    gold = contexts.gold([case.evidence for case in asked])
    with progress(f"{task.name} {GOLD_EVIDENCE} probe", "responses") as on_progress:
        return evaluate(
            task,
            plan,
            asked,
            gold,
            responder,
            contexts.count_tokens,
            name=GOLD_EVIDENCE,
            progress=on_progress,
        )
