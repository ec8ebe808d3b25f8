"""Write the HTML report."""

from stepladder.console import say
from stepladder.evaluation.summary import summarise
from stepladder.ladder.form import Verdict
from stepladder.ladder.report import write_report
from stepladder.stages.diagnose import failures_with_adapter
from stepladder.stages.rungs import adapter_record, all_outcomes
from stepladder.stages.workspace import Workspace, load


def run(workspace: Workspace, name: str) -> None:
    """Write ``report.html``."""
    settings = workspace.settings
    outcomes = all_outcomes(workspace, name)
    record = adapter_record(workspace, name)
    write_report(
        load(Verdict, workspace.verdict(name)),
        {rung: summarise(one, settings.evaluation, settings.seed) for rung, one in outcomes.items()},
        outcomes,
        record.result.losses if record else None,
        workspace.report(name),
        failures_with_adapter(workspace, name),
    )
    say(f"report {name}: {workspace.report(name)}")
