"""The ``stepladder`` command. Results go to standard output, progress and errors to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepladder.errors import StepladderError
from stepladder.ingest_commands import register as register_ingest

if TYPE_CHECKING:
    from stepladder.stages.workspace import Workspace

app = typer.Typer(
    help="Prompt, retrieve, or fine-tune? Measure, then climb.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
register_ingest(app)

TaskName = Annotated[str, typer.Argument(help="a task named in params.yaml")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def _workspace() -> Workspace:
    from stepladder.stages.workspace import open_workspace

    return open_workspace(Path())


@app.command()
def setup() -> None:
    """Make the base model and the sample tasks, where they are missing."""
    from stepladder.console import say
    from stepladder.models import PACKAGED_BASE, convert_packaged_base
    from stepladder.samples.build import SAMPLES, is_built

    workspace = _workspace()
    if workspace.settings.models.base == str(PACKAGED_BASE):
        say(f"base model: preparing {PACKAGED_BASE} (half a minute, once)")
        made = convert_packaged_base()
        say(f"base model: {'made' if made else 'already there'}")
    for name in workspace.settings.tasks:
        if name in SAMPLES and is_built(name):
            say(f"sample {name}: already there (`stepladder sample {name}` builds it anew)")
        elif name in SAMPLES:
            sample(name)


@app.command()
def sample(
    name: Annotated[str, typer.Argument(help="module-qa or terraform-review")],
    all_modules: Annotated[bool, typer.Option("--all", help="module-qa: every module, some 9,000")] = False,
) -> None:
    """Build a sample task's data, in place of what is there."""
    from stepladder.console import say
    from stepladder.samples.build import build_sample, with_all_modules

    say(f"sample {name}: building")
    settings = _workspace().settings
    report = build_sample(name, with_all_modules(settings) if all_modules else settings)
    state = "already there" if report.reused else f"built in {report.seconds:.0f} s"
    say(f"sample {name}: {state}; {report.pages} pages, {report.cases} cases, {report.examples} examples")


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="a stage of dvc.yaml")],
    task: Annotated[str | None, typer.Argument(help="a task, for stages of one task")] = None,
) -> None:
    """Run one stage as dvc.yaml does."""
    from stepladder.stages import run_stage

    run_stage(name, _workspace(), task)


@app.command()
def climb(
    force: Annotated[bool, typer.Option(help="run every stage again, stale or not")] = False,
    as_json: AsJson = False,
) -> None:
    """Run what is stale, tell the verdicts, and register the winners as releases."""
    from stepladder.climb import climb as run_climb

    run_climb(_workspace(), force=force, as_json=as_json)


@app.command()
def ask(
    task: TaskName,
    question: Annotated[str, typer.Argument(help="what to ask; - reads standard input")],
    as_json: AsJson = False,
) -> None:
    """Answer from the newest release, with the sources it was given."""
    from stepladder.stages.ask import ask as answer_question

    text = sys.stdin.read() if question == "-" else question
    answer = answer_question(_workspace(), task, text)
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
        return
    typer.echo(answer.answer)
    for source in answer.sources:
        typer.echo(f"  source: {source.heading} ({source.id})")


@app.command()
def verdict(task: TaskName, as_json: AsJson = False) -> None:
    """Tell a task's verdict."""
    from stepladder.climb import print_verdicts
    from stepladder.ladder.form import Verdict
    from stepladder.stages.workspace import load

    workspace = _workspace()
    workspace.task(task)
    path = workspace.verdict(task)
    found = load(Verdict, path)
    if as_json:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
    else:
        print_verdicts([found])


@contextmanager
def _plain_errors(exit_with: Callable[[int], None]) -> Iterator[None]:
    """Turn errors that the user can act on into one clear message and exit code 1."""
    try:
        yield
    except StepladderError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        exit_with(1)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on", err=True)
        exit_with(130)


def main() -> None:
    """Entry point."""
    with _plain_errors(sys.exit):
        app()
