"""End the stack: supervisor, services, what they left, and Postgres."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from stepladder.stack import postgres
from stepladder.stack.place import Place
from stepladder.stack.processes import await_end, end, marked
from stepladder.stack.running import read_running

_END_S = 60.0  # for all services together: the gateway lets running answers end
_LEFT_S = 10.0  # for what outlived that


def end_all(place: Place, say: Callable[[str], None]) -> int:
    """End what runs of the stack, also where its supervisor was killed.

    Returns:
        How many processes were ended.
    """
    running = read_running(place)
    ours = marked(place.root)
    if running and running.lives:
        supervisor = psutil.Process(running.pid)
        supervisor.terminate()
        await_end([supervisor], _END_S)
    left = marked(place.root)
    end({process.pid: process for process in (*ours, *left)}.values(), _LEFT_S)
    database = postgres.stop(place)
    if ours or database:
        say(f"ended {len(ours)} processes" + (" and Postgres" if database else ""))
    for path in (place.running, place.failed, place.environment):
        path.unlink(missing_ok=True)
    return len(ours) + database
