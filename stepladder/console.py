"""What a person sees: progress with rates and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OnProgress = Callable[[float, float], None]
"""Called with (done, all) as work goes on."""

_PLAIN_EVERY_S = 30.0
_MOST_WIDTH = 2000


@lru_cache(maxsize=1)
def console() -> Console:
    """The console on standard error: standard output is for results."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line for the person who waits, as it is: ids and inputs may hold square brackets."""
    console().print(text, soft_wrap=True, markup=False)


def quiet_off_terminal() -> None:
    """Off a terminal, keep the bars of other libraries (tqdm's) quiet; to call before they are imported."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


@contextmanager
def progress(label: str, unit: str = "") -> Iterator[OnProgress]:
    """A bar fed by calls of (done, all); off a terminal, a line every half minute and one at the end."""
    if console().is_terminal:
        with _bar(label, unit) as update:
            yield update
    else:
        with _lines(label, unit) as update:
            yield update


@contextmanager
def _bar(label: str, unit: str) -> Iterator[OnProgress]:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console()) as bar:
        row = bar.add_task(label, total=None, rate="")
        started = time.monotonic()
        before: float | None = None  # what an earlier run had done: it took none of this one's time

        def update(done: float, total: float) -> None:
            nonlocal before
            before = done if before is None else before
            rate = (done - before) / max(time.monotonic() - started, 1e-9)
            bar.update(row, completed=done, total=total, rate=f"{rate:.1f} {unit}/s" if unit else "")

        yield update


@contextmanager
def _lines(label: str, unit: str) -> Iterator[OnProgress]:
    started = time.monotonic()
    said = started
    last = (0.0, 0.0)

    def update(done: float, total: float) -> None:
        nonlocal said, last
        last = (done, total)
        if time.monotonic() - said >= _PLAIN_EVERY_S:
            said = time.monotonic()
            say(f"{label}: {done:.0f} of {total:.0f} {unit} after {said - started:.0f} s")

    yield update
    if last[1]:
        say(f"{label}: {last[0]:.0f} {unit} in {time.monotonic() - started:.0f} s")


def results() -> Console:
    """The console on standard output."""
    from rich.console import Console

    return Console(highlight=False)


def print_table(table: Table) -> None:
    """A table on standard output; where that is no terminal, as wide as it needs."""
    from rich.console import Console

    out = results()
    if not out.is_terminal:
        out = Console(highlight=False, width=Console(width=_MOST_WIDTH).measure(table).maximum)
    out.print(table)
