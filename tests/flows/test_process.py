"""A command's lines come as they are written; its end is certain, even where the one who asked is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flows.process import run
from stepladder.errors import StepladderError
from tests.flows.project import wait_until

# Starts a child in a session of its own, which ticks; both ignore SIGTERM where told to.
STUBBORN = textwrap.dedent(
    """
    import os, signal, subprocess, sys, time
    if sys.argv[2] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.argv[1] == "parent":
        subprocess.Popen([sys.executable, __file__, "child", *sys.argv[2:]], start_new_session=True)
    while True:
        with open(sys.argv[3], "a") as ticks:
            ticks.write(f"{os.getpid()}\\n")
        time.sleep(0.02)
    """
)


@pytest.fixture
def stubborn(tmp_path: Path) -> Path:
    path = tmp_path / "stubborn.py"
    path.write_text(STUBBORN)
    return path


def writers(ticks: Path) -> set[int]:
    return {int(line) for line in ticks.read_text().split()} if ticks.exists() else set()


def all_gone(pids: set[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def test_lines_come_while_the_command_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    code = (
        "import pathlib, sys, time\n"
        "print('one', flush=True); print('two', file=sys.stderr, flush=True)\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
        "sys.stdout.write('50%\\r100%\\nlast'); sys.exit(3)"
    )
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        if line == "two":
            go.touch()

    assert run([sys.executable, "-c", code], tmp_path, os.environ, hear, 30) == 3
    assert heard == ["one", "two", "50%", "100%", "last"]


def test_a_killed_command_tells_its_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run([sys.executable, "-c", code], tmp_path, os.environ, print, 30) == 128 + signal.SIGKILL


def test_what_a_killed_command_leaves_in_its_own_session_is_ended(tmp_path: Path, stubborn: Path) -> None:
    ticks = tmp_path / "ticks"
    command = [sys.executable, str(stubborn), "parent", "deaf", str(ticks)]

    def kill_the_parent() -> bool:
        if len(writers(ticks)) == 2:
            with suppress(ProcessLookupError):
                os.kill(int(ticks.read_text().split()[0]), signal.SIGKILL)
        return True

    code = run(command, tmp_path, os.environ, print, 60, is_wanted=kill_the_parent)
    assert code == 128 + signal.SIGKILL
    assert all_gone(writers(ticks))


@pytest.mark.parametrize("hearing", ["polite", "deaf"])
def test_what_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, stubborn: Path, hearing: str
) -> None:
    ticks = tmp_path / "ticks"
    started = time.monotonic()
    with pytest.raises(StepladderError, match="longer than 4 s"):
        run([sys.executable, str(stubborn), "parent", hearing, str(ticks)], tmp_path, os.environ, print, 4)
    assert time.monotonic() - started < 4 + 10
    assert len(writers(ticks)) == 2
    assert all_gone(writers(ticks))


def test_what_nobody_wants_any_more_is_ended(tmp_path: Path, stubborn: Path) -> None:
    ticks = tmp_path / "ticks"
    command = [sys.executable, str(stubborn), "parent", "polite", str(ticks)]
    with pytest.raises(StepladderError, match="nobody waits"):
        run(command, tmp_path, os.environ, print, 60, is_wanted=lambda: len(writers(ticks)) < 2)
    assert all_gone(writers(ticks))


def test_kill_9_of_the_one_who_asked_ends_the_command_too(tmp_path: Path, stubborn: Path) -> None:
    ticks = tmp_path / "ticks"
    command = [sys.executable, str(stubborn), "parent", "deaf", str(ticks)]
    code = (
        "import os, pathlib\nfrom flows.process import run\n"
        f"run({command!r}, pathlib.Path({str(tmp_path)!r}), os.environ, print, 60)"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    )
    wait_until(lambda: len(writers(ticks)) == 2)
    asking.kill()
    asking.wait()
    wait_until(lambda: all_gone(writers(ticks)), 10)
