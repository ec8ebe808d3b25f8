"""``python -m stepladder.stack.keep SERVICE COMMAND...``: start a service after those it needs, keep it up.

A service that was up once, or was killed, is started again. One that ends by itself before it was ever up
says what is wrong in its log, and another start would not mend that: it is given up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stepladder.files import write_json
from stepladder.stack.health import is_up
from stepladder.stack.place import Place
from stepladder.stack.ports import Ports, read_ports
from stepladder.stack.services import SERVICES, Service

_LOOK_EVERY_S = 0.5
_LEAST_PAUSE_S = 1.0
_MOST_PAUSE_S = 60.0


class Keeper:
    """Keeps one service up until it is told to end."""

    def __init__(self, service: Service, command: Sequence[str], ports: Ports) -> None:
        self._service = service
        self._command = command
        self._ports = ports
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> int:
        """Start the service, and again when it ends, until ``end``.

        Returns:
            0 after ``end``, else the exit code of a service that never was up.
        """
        pause = _LEAST_PAUSE_S
        ever_up = False
        while not self._ending.is_set():
            self._await_needed()
            code, was_up = self._run()
            ever_up |= was_up
            if self._ending.is_set():
                break
            if code >= 0 and not ever_up:
                return code or 1
            pause = _LEAST_PAUSE_S if was_up else min(_MOST_PAUSE_S, 2 * pause)
            print(f"{self._service.name} ended ({code}); starting it again in {pause:.0f} s", flush=True)
            self._ending.wait(pause)
        return 0

    def end(self, *_: object) -> None:
        """End the service and what it has started."""
        self._ending.set()
        if self._process and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)

    def _await_needed(self) -> None:
        for name in self._service.after:
            while not self._ending.is_set() and not is_up(SERVICES[name], self._ports, since=0):
                self._ending.wait(_LOOK_EVERY_S)

    def _run(self) -> tuple[int, bool]:
        """Run the command once: its exit code (negative: the signal that ended it), and whether it was up."""
        started = time.time()
        # A group of its own: a signal to the group reaches all of it once, from `end`.
        self._process = subprocess.Popen(self._command, start_new_session=True)
        if self._ending.is_set():  # told so before there was a process to tell
            self.end()
        was_up = False
        while self._process.poll() is None and not was_up:
            was_up = is_up(self._service, self._ports, started)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_EVERY_S)
        code = self._process.wait()
        if self._service.port and not self._ending.is_set():
            # A server that was killed may leave a child that holds the port. What a worker leaves are flow
            # runs, which end by themselves.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return code, was_up


def main(arguments: Sequence[str]) -> int:
    """Keep the service up that the first argument names, by the command in the others."""
    name, *command = arguments
    place = Place(Path().resolve())
    keeper = Keeper(SERVICES[name], command, read_ports(place.root))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, keeper.end)
    code = keeper.keep()
    if code and not place.failed.exists():  # the first one is the cause
        write_json(place.failed, {"service": name, "code": code})
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
