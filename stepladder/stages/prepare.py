"""Remove duplicates, guard against leakage, and split."""

from stepladder.console import say
from stepladder.data.prepare import prepare_task
from stepladder.files import writing
from stepladder.stages.workspace import Workspace


def run(workspace: Workspace, name: str) -> None:
    """Write the cases to ask, and the dev, few-shot and training rows."""
    task = workspace.task(name)
    with writing(workspace.prepared(name)) as draft:
        report = prepare_task(task, workspace.settings, draft)
    counts = report.counts
    say(
        f"prepare {name}: {counts['train']} to train on, {counts['dev']} for dev, {counts['cases']} of"
        f" {counts['cases_given']} cases; {counts['dropped']} duplicates dropped"
    )
