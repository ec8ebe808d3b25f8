"""The base model's rungs and probes, for all tasks with one engine."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from stepladder.console import say
from stepladder.data.prepare import Prepared, load_prepared
from stepladder.evaluation.evaluate import as_cases
from stepladder.evaluation.respond import responding
from stepladder.evaluation.summary import summarise
from stepladder.evaluation.variants import Choice, Measured, choose, variants
from stepladder.files import writing
from stepladder.models import require_base
from stepladder.prompting.compose import Plan
from stepladder.stages.answering import Assistant, contexts_of, responder_for, tell
from stepladder.stages.probes import ask_probes, find_places
from stepladder.stages.workspace import Workspace, load, outcomes_in, save, save_outcomes
from stepladder.tasks import Rung, Task

PLACES = "places.json"


def run(workspace: Workspace) -> None:
    """Write, per task, the outcomes of ``prompt``, ``rag`` and the probes, and the rungs' plans."""
    base = require_base(workspace.settings.models.base)
    tasks = [workspace.task(name) for name in workspace.settings.tasks]
    with (
        workspace.responses() as cache,
        responding(responder_for(workspace, cache, base, base, None)) as responder,
    ):
        with ExitStack() as stack:
            drafts = [(task, stack.enter_context(writing(workspace.base(task.name)))) for task in tasks]
            asked = dict.fromkeys(workspace.settings.tasks, 0)
            # Every task's rungs before any probe: they are what a person waits for.
            for step in (_climb_cheap_rungs, _probe):
                for task, draft in drafts:
                    before = responder.asked
                    with contexts_of(workspace, task) as contexts:
                        step(workspace, Assistant(task, contexts, responder), draft)
                    asked[task.name] += responder.asked - before
        _forget_other_tasks(workspace)
        told = ", ".join(f"{name} {count}" for name, count in asked.items())
        say(f"evaluate: {responder.asked} responses asked of the engine ({told}), the others were known")


def _climb_cheap_rungs(workspace: Workspace, assistant: Assistant, out: Path) -> None:
    rows = load_prepared(workspace.prepared(assistant.task.name))
    for rung in cheap_rungs(assistant.task):
        choice = _choose(workspace, assistant, rung, rows)
        outcomes = assistant.answer(choice.plan, rows.cases)
        save(out / f"{rung}.plan.json", choice)
        save_outcomes(out, outcomes)
        tell(workspace, outcomes)


def _probe(workspace: Workspace, assistant: Assistant, out: Path) -> None:
    """Write why cases fail: the probes' outcomes, and where the evidence stood."""
    task = assistant.task
    rows = load_prepared(workspace.prepared(task.name))
    cheap = outcomes_in(out)
    plans = {str(rung): load(Choice, out / f"{rung}.plan.json").plan for rung in cheap_rungs(task)}
    shots = rows.few_shot[: workspace.settings.evaluation.few_shot]
    probes = ask_probes(assistant, plans, cheap, rows.cases, rows.train, shots)
    for outcomes in probes.values():
        save_outcomes(out, outcomes)
    if "rag" in cheap:
        places = find_places(assistant, cheap["rag"], rows.cases, workspace.settings.knowledge.prefetch)
        save(out / PLACES, places)
    asked = ", ".join(f"{name} {len(outcomes.outcomes)}" for name, outcomes in probes.items())
    say(f"probes {task.name}: {asked or 'none needed'}")


def _forget_other_tasks(workspace: Workspace) -> None:
    """Outcomes of tasks that ``params.yaml`` no longer names; the output is all of ``build/base``.

    What else lies there (a file, a link) is not ours, and harms nobody: later stages read folders of tasks.
    """
    for one in workspace.base("").iterdir():
        if one.name not in workspace.settings.tasks and one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)


def cheap_rungs(task: Task) -> list[Rung]:
    """The task's rungs without an adapter."""
    return [rung for rung in task.rungs if not rung.startswith("lora")]


def _choose(workspace: Workspace, assistant: Assistant, rung: Rung, rows: Prepared) -> Choice:
    """The variant that does best on dev."""
    spec = assistant.task.spec
    shots = rows.few_shot[: workspace.settings.evaluation.few_shot]
    plans = variants(rung, spec, shots, workspace.settings.size.context_tokens)
    dev = as_cases(rows.dev, spec.scorer)

    def measure(plan: Plan) -> Measured:
        outcomes = assistant.answer(plan, dev, "dev")
        summary = summarise(outcomes, workspace.settings.evaluation, workspace.settings.seed)
        return Measured(summary.score, summary.prompt_tokens_mean)

    return choose(plans, measure, len(dev))
