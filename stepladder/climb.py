"""One command: what is stale, the verdicts, the releases, and what to do next."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder.errors import StepladderError
from stepladder.files import read_json
from stepladder.ladder.compare import ReleaseComparison
from stepladder.ladder.form import Verdict
from stepladder.models import model_digest
from stepladder.reproduction import reproduce
from stepladder.stages.workspace import Workspace, load

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_WIDTH = 120  # columns, where there is no terminal to ask
_MOST_CASES = 20  # of those that changed sides; --json prints all


def climb(workspace: Workspace, *, force: bool, as_json: bool) -> None:
    """``dvc repro``, tell the verdicts, then log and register.

    Raises:
        StepladderError: a task cannot be loaded, the base model changed, or MLflow does not answer.
        SystemExit: a stage failed, and has said why; what it wrote before is kept.
    """
    from stepladder.stages.release import run as release

    names = workspace.settings.tasks
    for name in names:
        workspace.task(name)  # DVC would tell of a missing file in words of its own
    if not force:
        _refuse_changed_base(workspace)
    reproduce(workspace.root, force=force)
    verdicts = [load(Verdict, workspace.verdict(name)) for name in names]
    # First: registering asks MLflow, which may be down.
    if as_json:
        print(json.dumps([verdict.model_dump(mode="json") for verdict in verdicts], indent=2), flush=True)
    else:
        print_verdicts(verdicts)
        _print_reports(workspace)
    for name in names:
        release(workspace, name)
    if not as_json:
        _print_next(workspace, verdicts)


def _refuse_changed_base(workspace: Workspace) -> None:
    """DVC knows the base model by its name in ``params.yaml``: that other files lie there, it does not see.

    Raises:
        StepladderError: the last verdict of a task is of the same name and other files.
    """
    base = workspace.settings.models.base
    last = [read_json(path) for path in map(workspace.verdict, workspace.settings.tasks) if path.is_file()]
    known = {one["digests"]["base"] for one in last if one["sizes"].get("base") == base}
    if known and known != {model_digest(base)}:
        raise StepladderError(
            "the base model is not the one of the last verdict: its files changed",
            where=base,
            remedy="run `stepladder climb --force`, which asks and trains anew, or put that model back",
        )


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """A table per task on standard output, and the verdict in one sentence."""
    from rich.markup import escape

    console = _results()
    for verdict in verdicts:
        console.print()
        console.print(_table(verdict))
        console.print(escape(verdict.sentence), soft_wrap=True, style="bold")
        for warning in verdict.warnings:
            console.print(f"note: {escape(warning)}", soft_wrap=True, style="yellow")


def _results() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    piped = not console.is_terminal and "COLUMNS" not in os.environ
    return Console(highlight=False, width=_PIPED_WIDTH) if piped else console


def _table(verdict: Verdict) -> object:
    from rich.table import Table

    table = Table(
        title=f"{verdict.task}: bar {verdict.bar:.2f}, margin {verdict.margin:.2f}", title_justify="left"
    )
    for heading in ("rung", "variant", "n", "score", "interval", "$ / 1,000", "p95 ms", "eligible"):
        table.add_column(heading, justify="left" if heading in ("rung", "variant", "eligible") else "right")
    for name, rung in verdict.rungs.items():
        chosen = name == verdict.chosen
        table.add_row(
            f"{name} <" if chosen else name,
            rung.variant,
            str(rung.n),
            f"{rung.score:.3f}",
            f"{rung.interval[0]:.3f} to {rung.interval[1]:.3f}" if rung.interval else "-",
            f"{rung.cost_per_1000:.4f}",
            f"{rung.latency_p95_ms:,.0f}",
            "yes" if rung.eligible else "undecided" if rung.undecided else "no",
            style="bold" if chosen else None,
        )
    for name in verdict.skipped:
        table.add_row(name, "skipped", "-", "-", "-", "-", "-", "no", style="dim")
    return table


def print_comparison(found: ReleaseComparison) -> None:
    """The paired difference, and a table of the cases that changed sides."""
    from rich.markup import escape
    from rich.table import Table

    console = _results()
    interval = found.comparison.interval
    between = f" ({interval.low:+.3f} to {interval.high:+.3f})" if interval.low is not None else ""
    console.print(
        f"{escape(found.after)} scores {found.score_after:.3f}, {escape(found.before)}"
        f" {found.score_before:.3f}, on the {found.cases:,} cases that both were asked:"
        f" {found.comparison.difference:+.3f}{between},"
        f" p = {found.comparison.p:.2g}",
        soft_wrap=True,
    )
    if found.only_before or found.only_after:
        console.print(f"left out: {found.only_before} and {found.only_after} cases that only one was asked")
    for heading, cases in (("gained", found.gained), ("lost", found.lost)):
        if cases:
            table = Table(title=f"{heading}: {len(cases)}", title_justify="left")
            for column in ("case", "slice", "before", "after", "input"):
                table.add_column(column, overflow="ellipsis", no_wrap=True)
            for case in cases[:_MOST_CASES]:
                table.add_row(
                    escape(case.id),
                    escape(case.slice),
                    f"{case.before:.2f}",
                    f"{case.after:.2f}",
                    escape(next(iter(case.input.splitlines()), "")),
                )
            console.print(table)


def _print_reports(workspace: Workspace) -> None:
    console = _results()
    console.print()
    for name in workspace.settings.tasks:
        console.print(f"report: {workspace.report(name)}", soft_wrap=True)


def _print_next(workspace: Workspace, verdicts: Sequence[Verdict]) -> None:
    console = _results()
    # As it can be typed where the environment is not activated.
    binaries = Path(os.path.relpath(Path(sys.executable).parent))

    def say_next(command: str) -> None:
        console.print(f"next:   {command}", soft_wrap=True)

    promoted = [verdict.task for verdict in verdicts if verdict.decision == "promote"]
    if promoted:
        say_next(f'{binaries / "stepladder"} ask {promoted[0]} "your question"')
    else:
        say_next(f"{binaries / 'stepladder'} verify {verdicts[0].task}")
    store = workspace.settings.mlflow.tracking_uri
    if store.startswith("sqlite:"):  # another one has a server that runs already
        say_next(f"{binaries / 'mlflow'} server --backend-store-uri {store}")
