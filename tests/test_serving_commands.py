"""``stepladder serve`` starts a killed gateway again, and ends it when it is ended itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.serving.house import ROOT, wait_until

# A gateway in miniature: tells its process id, ends well at an interrupt.
_GATEWAY = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
signal.pause()
"""
_SERVE = """
import sys
from stepladder import serving_commands
serving_commands._PAUSE_S = 0.1
sys.exit(serving_commands._keep_running([sys.executable, "-c", sys.argv[1], sys.argv[2]]))
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_gateway_is_started_again_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    seen.touch()

    def pids() -> list[int]:
        return [int(line) for line in seen.read_text().split()]

    command = [sys.executable, "-c", _SERVE, _GATEWAY, str(seen)]
    with subprocess.Popen(command, cwd=ROOT) as serve:
        wait_until(lambda: len(pids()) == 1)
        os.kill(pids()[0], signal.SIGKILL)
        wait_until(lambda: len(pids()) == 2)
        serve.send_signal(signal.SIGINT)
        assert serve.wait(30) == 0
    assert not any(map(lives, pids()))


def test_a_gateway_that_says_what_is_wrong_is_not_started_again(tmp_path: Path) -> None:
    fails = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(3)"
    command = [sys.executable, "-c", _SERVE, fails, str(tmp_path / "times")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 3
    assert (tmp_path / "times").read_text() == "x"


def test_with_serve_killed_nothing_is_left_behind(tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    seen.touch()
    with subprocess.Popen([sys.executable, "-c", _SERVE, _GATEWAY, str(seen)], cwd=ROOT) as serve:
        wait_until(lambda: seen.read_text().endswith("\n"))
        serve.kill()
    wait_until(lambda: not lives(int(seen.read_text())))
