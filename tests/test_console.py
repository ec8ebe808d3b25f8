"""What is said is said as it is, and off a terminal there is no bar."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from stepladder import console as module
from stepladder.console import console, progress, say


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A console for each test: the first one would keep the stream that it was made with."""
    console.cache_clear()
    yield
    console.cache_clear()


def test_square_brackets_of_an_id_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    say("look at case-[bold]1 and [/x]")
    assert capsys.readouterr().err == "look at case-[bold]1 and [/x]\n"


def test_progress_off_a_terminal_is_a_line_now_and_then_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 31.0, 31.0, 35.0, 40.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress("embed t", "chunks") as on_progress:
        for done in (1, 2, 3):
            on_progress(done, 3)
    said = capsys.readouterr()
    assert said.err == "embed t: 2 of 3 chunks after 31 s\nembed t: 3 chunks in 40 s\n"
    assert said.out == ""


def test_progress_of_nothing_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("embed t", "chunks"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("first", "bars"), [("", True), ("quiet_off_terminal(); ", False)])
def test_the_bars_of_other_libraries_are_quiet_off_a_terminal(first: str, bars: bool) -> None:
    code = f"from stepladder.console import *; {first}from tqdm import tqdm; list(tqdm(range(3)))"
    kept = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert bool(done.stderr) == bars
