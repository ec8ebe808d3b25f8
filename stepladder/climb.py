"""One command: what is stale, the verdicts, the releases, and what to do next."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder.errors import StepladderError
from stepladder.ladder.compare import ReleaseComparison
from stepladder.ladder.form import Verdict
from stepladder.stages.workspace import Workspace, load

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_WIDTH = 120  # columns, where there is no terminal to ask
_MOST_CASES = 20  # of those that changed sides; --json prints all


def climb(workspace: Workspace, *, force: bool, as_json: bool) -> None:
    """``dvc repro``, then log and register, then tell.

    Raises:
        StepladderError: a stage failed; what it wrote before is kept.
    """
    reproduce(workspace.root, force=force)
    verdicts = [load(Verdict, workspace.verdict(name)) for name in workspace.settings.tasks]
    for name in workspace.settings.tasks:
        release(workspace, name)
    if as_json:
        import json

        print(json.dumps([verdict.model_dump(mode="json") for verdict in verdicts], indent=2))
        return
    print_verdicts(verdicts)
    _print_next(workspace, verdicts)


def reproduce(root: Path, *, force: bool = False) -> None:
    """Run the stale stages of ``dvc.yaml``.

    Raises:
        StepladderError: DVC or a stage failed.
    """
    command = [sys.executable, "-m", "dvc", "repro", *(["--force"] if force else [])]
    # Stages call `python`: let it be the one that runs now, whether or not its environment is activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    process = subprocess.Popen(command, cwd=root, env={**os.environ, "PATH": path}, stdout=sys.stderr)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # The stage got the signal too: let it end its engine before the prompt comes back.
        print("ending the stage", file=sys.stderr)
        process.wait()
        raise
    if code:
        raise StepladderError(
            "a stage failed; its own message stands above",
            where="dvc repro",
            remedy="mend what it names and run `stepladder climb` again: finished stages are kept",
        )


def release(workspace: Workspace, name: str) -> None:
    """Log and register one task's climb."""
    from stepladder.stages.release import run

    run(workspace, name)


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


def _print_next(workspace: Workspace, verdicts: Sequence[Verdict]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print()
    for verdict in verdicts:
        console.print(f"report: {workspace.report(verdict.task)}", soft_wrap=True)
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
