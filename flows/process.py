"""A command in a process group of its own: its lines as they are written, its end certain."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from flows import guard
from stepladder.errors import StepladderError

_LOOK_EVERY_S = 0.5
_END_OF_LINE = re.compile(rb"[\r\n]+")


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    timeout_s: float,
    is_wanted: Callable[[], bool] = lambda: True,
) -> int:
    """Run a command to its end. However this call is left, nothing that the command started lives on.

    That holds where this process is killed, too: `flows.guard` sees to it.

    Args:
        command: program and arguments.
        folder: where it runs.
        environment: all of its environment.
        on_line: called with each line of its output and errors, without the end of line.
        timeout_s: longest that it may take.
        is_wanted: asked about twice a second; the command is ended when it says no.

    Returns:
        Its exit code, 128 + n where signal n ended it.

    Raises:
        StepladderError: it took too long, or was not wanted any more.
    """
    started = time.monotonic()
    with _guarded(command, folder, environment) as process:
        for line in _lines(process):
            if line is not None:
                on_line(line)
            if time.monotonic() - started > timeout_s:
                raise StepladderError(
                    f"took longer than {timeout_s:.0f} s and was ended",
                    where=command[-1],
                    remedy="raise its time in flows.stage_timeouts_s (params.yaml), or give it less to do",
                )
            if not is_wanted():
                raise StepladderError("nobody waits for it any more, so it was ended", where=command[-1])
        code = process.wait()
        return code if code >= 0 else 128 - code


@contextmanager
def _guarded(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        # -P: the folder of the script must not hide modules of the standard library.
        [sys.executable, "-P", guard.__file__, *command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        guard.end_descendants(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str | None]:
    """The lines that are written until the process ends; None where none came for half a second."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            # Asked before reading: what was written before the end is read after it.
            has_ended = process.poll() is not None
            selector.select(0 if has_ended else _LOOK_EVERY_S)
            read = _read(process.stdout)
            *whole, rest = _END_OF_LINE.split(rest + read)
            yield from (line.decode(errors="replace") for line in whole)
            if has_ended and not read:
                break
            yield None
    if rest:
        yield rest.decode(errors="replace")


def _read(stream: IO[bytes]) -> bytes:
    with suppress(BlockingIOError):
        return os.read(stream.fileno(), 65536)
    return b""
