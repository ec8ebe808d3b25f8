"""Remove duplicates, guard against leakage, and split."""

from stepladder.console import say
from stepladder.data.prepare import prepare_task
from stepladder.files import write_json, writing
from stepladder.prompting.render import system_prompt
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Task


def run(workspace: Workspace, name: str) -> None:
    """Write the cases to ask, and the dev, few-shot and training rows."""
    task = workspace.task(name)
    with writing(workspace.prepared(name)) as draft:
        report = prepare_task(task, workspace.settings, draft)
        write_json(draft / "form.json", _training_form(task))
    counts = report.counts
    say(
        f"prepare {name}: {counts['train']} to train on, {counts['dev']} for dev, {counts['cases']} of"
        f" {counts['cases_given']} cases; {counts['dropped']} duplicates dropped"
    )


def _training_form(task: Task) -> dict[str, str | None]:
    """All of the task's own files that training sees, besides rows and documents.

    The finetune stage depends on this alone: a new bar, or a prompt edited for the rungs without an adapter,
    makes no adapter stale.
    """
    return {
        "system": system_prompt(task, tuned=True, retrieval=task.has_knowledge),
        "input_template": task.spec.input_template,
        "abstention": task.spec.abstention,
    }
