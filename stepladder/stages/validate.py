"""Check a task's rows and documents against their expectations."""

from stepladder.console import say
from stepladder.data.validate import require_valid, validate_task
from stepladder.files import digest_text, write_json, writing
from stepladder.stages.workspace import Workspace


def run(workspace: Workspace, name: str) -> None:
    """Write the report, the Data Docs and the digests of the pages; fail when a row is bad."""
    task = workspace.task(name)
    with writing(workspace.checked(name)) as draft, writing(workspace.data_docs(name)) as docs:
        draft.mkdir()
        report = validate_task(task, draft, docs)
        write_json(draft / "pages.json", {page: digest_text(text) for page, text in task.pages.items()})
    say(f"validate {name}: {report.summary()}")
    require_valid(report)
