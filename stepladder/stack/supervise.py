"""``python -m stepladder.stack.supervise``: honcho runs the Procfile; each service has a log of its own.

When one service gives up, or at SIGTERM, all are ended.
"""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from honcho import manager
from honcho.printer import Message

from stepladder.stack.place import Place
from stepladder.stack.services import listed

_LOG_BYTES = 10_000_000
# honcho kills what has not ended by then. The gateway lets running answers end for 30 s.
manager.KILL_WAIT = 45


class LogFiles:
    """honcho's printer: the lines of each service go to a file that is set aside when it grows too large."""

    width = 0  # honcho sets it, for columns

    def __init__(self, place: Place) -> None:
        self._place = place
        self._files: dict[str, RotatingFileHandler] = {}

    def write(self, message: Message) -> None:
        """Add a message's lines to its service's log; honcho's own go to ``stack.log``."""
        name = "stack" if message.name == manager.SYSTEM_PRINTER_NAME else message.name
        data = message.data
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        time = f"{message.time:%Y-%m-%d %H:%M:%S} " if name == "stack" else ""
        for line in text.splitlines():
            self._file(name).emit(logging.makeLogRecord({"msg": "%s", "args": (time + line,)}))

    def _file(self, name: str) -> RotatingFileHandler:
        if name not in self._files:
            self._files[name] = RotatingFileHandler(
                self._place.log(name), maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8"
            )
        return self._files[name]


def main() -> None:
    """Run the services of the Procfile in this folder until one gives up or a signal comes."""
    place = Place(Path().resolve())
    supervisor = manager.Manager(LogFiles(place))
    for name, command in listed(place.root).items():
        # `exec`: the shell is replaced by the service, which so gets the signals.
        supervisor.add_process(name, f"exec {command}")
    supervisor.loop()
    sys.exit(supervisor.returncode)


if __name__ == "__main__":
    main()
