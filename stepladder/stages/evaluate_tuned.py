"""The adapter's rungs, through an engine with the adapter merged into the base."""

from __future__ import annotations

from stepladder.console import say
from stepladder.data.prepare import load_prepared
from stepladder.evaluation.respond import responding
from stepladder.files import writing
from stepladder.models import require_base
from stepladder.prompting.compose import Plan
from stepladder.stages.answering import Assistant, contexts_of, responder_for, tell
from stepladder.stages.finetune import merged_model
from stepladder.stages.records import Skipped, TrainingRecord
from stepladder.stages.workspace import Workspace, load, save, save_outcomes
from stepladder.tasks import Rung, Task


def run(workspace: Workspace, name: str) -> None:
    """Write the outcomes of ``lora`` and ``lora+rag``, or pass on why there are none."""
    task = workspace.task(name)
    tuned = workspace.tuned(name)
    with writing(workspace.tuned_outcomes(name)) as draft:
        draft.mkdir()
        if (tuned / "skipped.json").is_file():
            save(draft / "skipped.json", load(Skipped, tuned / "skipped.json"))
            say(f"evaluate {name}: no adapter, so no adapter rungs")
            return
        base = require_base(workspace.settings.models.base)
        digest = load(TrainingRecord, tuned / "training.json").adapter_digest
        merged = merged_model(workspace, base, tuned / "adapter", digest)
        cases = load_prepared(workspace.prepared(name)).cases
        with (
            workspace.responses() as cache,
            contexts_of(workspace, task) as contexts,
            responding(responder_for(workspace, cache, str(merged), base, digest)) as responder,
        ):
            assistant = Assistant(task, contexts, responder)
            for rung in task.rungs:
                if rung.startswith("lora"):
                    plan = tuned_plan(workspace, task, rung)
                    outcomes = assistant.answer(plan, cases)
                    save(draft / f"{rung}.plan.json", plan)
                    save_outcomes(draft, outcomes)
                    tell(workspace, outcomes)


def tuned_plan(workspace: Workspace, task: Task, rung: Rung) -> Plan:
    """Zero-shot, as trained; constrained where the task has a schema, so that every answer parses."""
    return Plan(
        rung=rung,
        constrained=task.spec.output_schema is not None,
        context_tokens=workspace.settings.size.context_tokens,
    )
