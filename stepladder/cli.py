"""The ``stepladder`` command. Results go to standard output, progress and errors to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepladder.console import quiet_off_terminal
from stepladder.errors import MAY_PASS, StepladderError
from stepladder.failures import explained
from stepladder.ingest_commands import register as register_ingest
from stepladder.proxies import keep_this_machine_off_proxies
from stepladder.serving_commands import register as register_serving
from stepladder.stack_commands import register as register_stack

if TYPE_CHECKING:
    from stepladder.stages.workspace import Workspace

app = typer.Typer(
    help="Prompt, retrieve, or fine-tune? Measure, then climb.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
register_ingest(app)
register_stack(app)
register_serving(app)

_INTERRUPTED = 130  # 128 + SIGINT, as shells tell it

TaskName = Annotated[str, typer.Argument(help="a task named in params.yaml")]
Known = Annotated[bool | None, typer.Option(help="asked when not given")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def _workspace() -> Workspace:
    from stepladder.stages.workspace import open_workspace

    return open_workspace(Path())


@app.command()
def setup() -> None:
    """Make the base model and the sample tasks, where they are missing."""
    from stepladder.console import say
    from stepladder.models import PACKAGED_BASE, convert_packaged_base, has_checkpoint
    from stepladder.samples.build import SAMPLES, is_built, is_current

    workspace = _workspace()
    if workspace.settings.models.base == str(PACKAGED_BASE):
        if has_checkpoint(PACKAGED_BASE):
            say("base model: already there")
        else:
            say(f"base model: preparing {PACKAGED_BASE} (half a minute, once)")
            convert_packaged_base()
            say("base model: made")
    for name in workspace.settings.tasks:
        if name in SAMPLES and is_built(name):
            state = "already there" if is_current(name, workspace.settings) else "built from something else"
            say(f"sample {name}: {state} (`stepladder sample {name}` builds it anew)")
        elif name in SAMPLES:
            sample(name)


@app.command()
def sample(
    name: Annotated[str, typer.Argument(help="module-qa or terraform-review")],
    all_modules: Annotated[bool, typer.Option("--all", help="module-qa: every module, some 9,000")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite files that were edited")] = False,
) -> None:
    """Build a sample task's data, in place of what an earlier build left there."""
    from stepladder.console import say
    from stepladder.samples.build import build_sample, with_all_modules

    say(f"sample {name}: building")
    settings = _workspace().settings
    report = build_sample(name, with_all_modules(settings) if all_modules else settings, force=force)
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
def verdict(
    task: TaskName,
    as_json: AsJson = False,
    github: Annotated[bool, typer.Option("--github", help="print Markdown for a pull request")] = False,
) -> None:
    """Tell a task's verdict. Exit code: 0 promote, 3 keep, 4 inconclusive, 5 none is good enough."""
    from stepladder.ladder.form import Verdict
    from stepladder.ladder.markdown import EXIT_CODES, summary
    from stepladder.stages.workspace import load
    from stepladder.tables import print_verdicts

    workspace = _workspace()
    workspace.task(task)
    path = workspace.verdict(task)
    found = load(Verdict, path)
    if as_json:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
    elif github:
        typer.echo(summary(found), nl=False)
    else:
        print_verdicts([found])
    raise typer.Exit(EXIT_CODES[found.decision])


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="TASK@version or TASK@alias; TASK alone: the challenger")],
    after: Annotated[str, typer.Argument(help="another release of the same task")],
    as_json: AsJson = False,
) -> None:
    """Compare two releases on the cases that both were asked, and name those that changed sides."""
    from stepladder.stages.compare import compare as compare_releases
    from stepladder.tables import print_comparison

    found = compare_releases(_workspace(), before, after)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_comparison(found)


@app.command()
def evaluate(
    release: Annotated[str, typer.Argument(help="TASK@version or TASK@alias; TASK alone: the champion")],
    as_json: AsJson = False,
) -> None:
    """Ask a release the present cases, so that a verdict can weigh it as champion on them."""
    from stepladder.stages.evaluate_release import evaluate_release

    found = evaluate_release(_workspace(), release)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    typer.echo(
        f"{found.task}, version {found.release} ({found.rung}): score {found.score:.3f} on the"
        f" {found.cases:,} present cases; {found.asked:,} responses asked of the engine, the others known"
    )
    typer.echo(f"next:   dvc repro --force --single-item verdict@{found.task}")
    typer.echo("next:   stepladder climb")


@app.command()
def verify(
    of: Annotated[str, typer.Argument(metavar="VERDICT", help="a verdict.json, or a task for its own")],
    as_json: AsJson = False,
) -> None:
    """Recompute a verdict from the stored responses; refuse one that was edited."""
    from stepladder.stages.verify import verify as verify_verdict

    workspace = _workspace()
    path = workspace.verdict(of) if of in workspace.settings.tasks else Path(of)
    found = verify_verdict(workspace, path)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    signed = "signed, and " if found.signed else ""
    typer.echo(
        f"{path}: {signed}what the {found.responses:,} stored responses give (digest {found.digest[:12]})"
    )
    if found.later_looks:
        typer.echo(f"  its cases were looked at {found.later_looks} more times since")


@app.command()
def advise(
    task: Annotated[str, typer.Argument(help="the task's name, which need not exist yet")] = "my-task",
    good_enough: Known = None,
    prompt_tried: Known = None,
    facts_missing: Known = None,
    documents: Known = None,
    wrong_with_facts: Known = None,
    too_slow_or_dear: Known = None,
    examples: Annotated[int | None, typer.Option(min=0, help="labelled examples")] = None,
    cases: Annotated[int | None, typer.Option(min=0, help="test cases")] = None,
    monthly_requests: Annotated[int | None, typer.Option(min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Which step next, before anything is measured: asks what no flag says, and only what still matters."""
    given = dict(locals())
    from stepladder.ladder.advise import Asking
    from stepladder.ladder.advise import advise as find_advice

    settings = _workspace().settings
    asking = Asking(lambda name: _answer(name, given[name]))
    found = find_advice(asking, task, settings)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    typer.secho(found.name, bold=True)
    for reason in found.because:
        typer.echo(f"  - {reason}")
    typer.echo(f"Expect: {found.expectation}" + (f" ({found.source})" if found.source else ""))
    typer.echo(f"Cost:   {found.cost_per_month}")
    typer.echo(f"        the step itself, by stated rates: {found.cost_of_step}")
    typer.secho(found.note, fg="yellow")
    typer.echo("Measure it:\n  " + "\n  ".join(found.measure))


def _answer(name: str, known: bool | int | None) -> bool | int:
    """What a flag said, or what the person at the terminal says."""
    from stepladder.ladder.advise import Situation

    if known is not None:
        return known
    field = Situation.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    if not sys.stdin.isatty():
        either = f"{flag} or --no-{flag[2:]}" if field.annotation is bool else flag
        raise StepladderError(
            f"{flag} is not given, and there is no terminal to ask at",
            remedy=f"give {either} ({field.description})",
        )
    if field.annotation is bool:
        return typer.confirm(str(field.description))
    least = 1 if name == "monthly_requests" else 0

    def whole(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < least:
            raise typer.BadParameter(f"a whole number is asked for, {least} or more")
        return int(text)

    return int(typer.prompt(str(field.description), value_proc=whole))


@app.command()
def plan(
    task: TaskName,
    margin: Annotated[float | None, typer.Option(min=0.001, max=0.999, help="default: the task's")] = None,
    power: Annotated[float | None, typer.Option(min=0.5, max=0.999, help="default: evaluation.power")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how many cases a task needs, before they are written."""
    from stepladder.stages.plan import run

    found = run(_workspace(), task, margin, power)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    wanted = found.wanted
    typer.echo(f"{task}: about {found.cases:,} cases; there are {wanted.cases:,}")
    for question, needed in (
        (f"a score of {wanted.bar + wanted.margin:.2f} holds the bar of {wanted.bar:.2f}", found.good_enough),
        (f"a cheaper rung is no worse by {wanted.margin:.2f}, if it is as good", found.as_good),
        (f"a dearer rung is better, if it is by {wanted.margin:.2f}", found.better),
    ):
        typer.echo(f"  {needed.fewest:>7,} to {needed.most:,}: to show that {question}")
    for line in (f"power {wanted.power:.0%}", *found.assumptions):
        typer.echo(f"  ({line})")


@contextmanager
def plain_errors(exit_with: Callable[[int], None]) -> Iterator[None]:
    """Turn what the user can act on into one clear message and an exit code, Ctrl-C into a line and 130.

    The code is 75 where it may go well a little later with nothing done about it, else 1.
    """
    try:
        with explained():
            yield
    except StepladderError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        exit_with(MAY_PASS if error.may_pass else 1)
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer ends an interrupted command with this code and without a word.
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        typer.echo("interrupted; run the same command again to go on, finished work is kept", err=True)
        exit_with(_INTERRUPTED)


def main() -> None:
    """Entry point."""
    keep_this_machine_off_proxies()
    quiet_off_terminal()
    with plain_errors(sys.exit):
        app()
