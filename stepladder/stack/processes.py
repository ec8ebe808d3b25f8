"""The processes of a stack: found by a mark in their environment, ended by their ids.

Every process inherits the mark from the one that started it, so also those whose parents were killed carry
it. A few overwrite their environment with a title (vLLM's engine core): they are found below their parents.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "STEPLADDER_STACK"
_LOOK_EVERY_S = 0.1


def marked(root: Path) -> list[psutil.Process]:
    """The processes that belong to the stack of a project, without this one and those that started it."""
    this = psutil.Process()
    ours = {this.pid, *(parent.pid for parent in this.parents())}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.pid not in ours and process.environ().get(MARK) == str(root):
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.Error:  # it has ended, or is another user's
            continue
    return [process for process in found.values() if is_alive(process)]


def end(processes: Iterable[psutil.Process], patience_s: float) -> None:
    """Ask processes to end; kill those that still run after ``patience_s`` seconds."""
    processes = list(processes)
    for signalled in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            _unless_gone(signalled, process)
        processes = await_end(processes, patience_s)


def await_end(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Wait until processes have ended; those that have not after ``patience_s`` seconds are returned."""
    deadline = time.monotonic() + patience_s
    left = list(processes)
    while (left := [process for process in left if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    return left


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs. One that only waits for its parent to take note of its end does not."""
    try:
        return bool(process.is_running()) and str(process.status()) != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _unless_gone(act: Callable[[psutil.Process], None], process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        act(process)
