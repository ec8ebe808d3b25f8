"""git and DVC as commands: what becomes of one whose caller is cancelled."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
from pathlib import Path
from types import FrameType

import pytest

from stepladder.data import git
from tests.flows.project import wait_until

# As git does: it removes its lock when it is asked to end, and cannot when it is killed.
SLOW = textwrap.dedent(
    """
    import pathlib, signal, sys, time
    lock = pathlib.Path("index.lock")
    def end(*_):
        lock.unlink()
        sys.exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1:] == ["deaf"] else end)
    lock.touch()
    time.sleep(60)
    """
)


class Cancelled(BaseException):
    """As a flow run is cancelled: by a signal."""


def cancel(_number: int, _frame: FrameType | None) -> None:
    raise Cancelled


@pytest.mark.parametrize(("hearing", "is_left"), [("polite", False), ("deaf", True)])
def test_a_cancelled_command_is_asked_to_end(
    *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hearing: str, is_left: bool
) -> None:
    monkeypatch.setattr(git, "_GRACE_S", 1.0 if is_left else 30.0)
    lock = tmp_path / "index.lock"

    def cancel_once_it_runs() -> None:
        wait_until(lock.exists)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, cancel)
    thread = threading.Thread(target=cancel_once_it_runs)
    thread.start()
    try:
        with pytest.raises(Cancelled):
            git._run(tmp_path, [sys.executable, "-c", SLOW, hearing])
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert lock.exists() == is_left
