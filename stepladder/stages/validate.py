"""Check a task's rows and documents against their expectations."""

import shutil

from stepladder.console import say
from stepladder.data.validate import ValidationReport, require_valid, told, validate_task
from stepladder.files import digest_text, write_json, writing
from stepladder.stages.workspace import Workspace

_MOST_WARNINGS = 3


def run(workspace: Workspace, name: str) -> None:
    """Write the report, the Data Docs and the digests of the pages; fail when a row is bad.

    What was checked when all rows were good stays then; the failing report lies beside it.
    """
    task = workspace.task(name)
    with writing(workspace.checked(name)) as draft:
        report = validate_task(task, draft)
        # The index depends on this file alone, so that other changes of the task leave it be.
        write_json(draft / "pages.json", {page: digest_text(text) for page, text in task.pages.items()})
        _tell(name, report)
        if not report.ok:
            with writing(workspace.unchecked(name)) as failed:
                shutil.copytree(draft, failed)
        require_valid(report, workspace.unchecked(name))
    shutil.rmtree(workspace.unchecked(name), ignore_errors=True)


def _tell(name: str, report: ValidationReport) -> None:
    rows = ", ".join(f"{count} {kind}" for kind, count in report.rows.items())
    say(f"validate {name}: {rows}; {len(report.bad_rows)} faults, {len(report.warnings)} warnings")
    for line in told(report.warnings, _MOST_WARNINGS):
        say(f"  warning: {line}")
