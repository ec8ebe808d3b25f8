"""Verdicts and comparisons as a person reads them, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepladder.console import print_table, results
from stepladder.ladder.compare import ReleaseComparison
from stepladder.ladder.form import Verdict

if TYPE_CHECKING:
    from rich.table import Table

_MOST_CASES = 20  # of those that changed sides; --json prints all


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """A table per task on standard output, and the verdict in one sentence."""
    from rich.markup import escape

    console = results()
    for verdict in verdicts:
        console.print()
        print_table(_table(verdict))
        console.print(escape(verdict.sentence), soft_wrap=True, style="bold")
        for warning in verdict.warnings:
            console.print(f"note: {escape(warning)}", soft_wrap=True, style="yellow")


def _table(verdict: Verdict) -> Table:
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
    if serves := verdict.champion_measured:
        table.add_row(
            f"champion ({verdict.champion})",
            serves.variant,
            str(serves.n),
            f"{serves.score:.3f}",
            f"{serves.interval[0]:.3f} to {serves.interval[1]:.3f}" if serves.interval else "-",
            "-" if serves.cost_per_1000 is None else f"{serves.cost_per_1000:.4f}",
            f"{serves.latency_p95_ms:,.0f}",
            "serves",
        )
    for name in verdict.skipped:
        table.add_row(name, "skipped", "-", "-", "-", "-", "-", "no", style="dim")
    return table


def print_comparison(found: ReleaseComparison) -> None:
    """The paired difference, and a table of the cases that changed sides."""
    from rich.markup import escape
    from rich.table import Table

    console = results()
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
        left_out = f"{found.only_before} and {found.only_after} cases that only one was asked"
        console.print(f"left out: {left_out}", soft_wrap=True)
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
            print_table(table)
