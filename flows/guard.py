"""Run a command, and end it with all that it started when whoever asked for it is gone.

Started as a script, by `flows.process`. Standard input is a pipe from the one who asked: the system closes it
when that process ends, however it ends. This script leads the process group of all that it starts, and is the
parent of what a process below it leaves when that is killed: an engine in a session of its own, say.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE_S = 4.0
_PR_SET_CHILD_SUBREAPER = 36


def end_descendants(pid: int, grace_s: float = GRACE_S) -> None:
    """End every process below ``pid``, those in sessions of their own too: asked first, killed after."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        below = psutil.Process(pid).children(recursive=True)
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        deaf = psutil.wait_procs(below, timeout=grace_s)[1]
        for process in deaf:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(deaf, timeout=grace_s)


def main(command: list[str]) -> int:
    """Run the command; its exit code, 128 + n where signal n ended it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_when_alone, daemon=True).start()
    code = child.wait()
    end_descendants(os.getpid())
    return code if code >= 0 else 128 - code


def _end_when_alone() -> None:
    while os.read(0, 1):
        pass
    end_descendants(os.getpid())
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
