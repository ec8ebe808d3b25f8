"""Wait until every service of the stack is up, and say which one is not."""

from __future__ import annotations

import time
from collections.abc import Callable

from stepladder.engine import tail
from stepladder.errors import StepladderError
from stepladder.files import read_json
from stepladder.stack.health import is_up
from stepladder.stack.place import Place
from stepladder.stack.running import Running
from stepladder.stack.services import SERVICES, listed

_LOOK_EVERY_S = 0.5


def await_all(
    place: Place, running: Running, wait_s: float, since: float, say: Callable[[str], None]
) -> None:
    """Wait until all are up.

    Args:
        place: of the stack.
        running: the stack.
        wait_s: longest to wait, seconds.
        since: what is heard of a worker counts from then on, seconds since the epoch.
        say: told of each that is up.

    Raises:
        StepladderError: a service ended or was not up in time, with the end of its log.
    """
    started = time.monotonic()
    waiting = {name: SERVICES[name] for name in listed(place.root)}
    while waiting:
        for service in [one for one in waiting.values() if is_up(one, running.ports, since)]:
            say(f"{service.title}: up after {time.monotonic() - started:.0f} s")
            del waiting[service.name]
        raise_if_failed(place)
        if not running.lives:
            raise _not_up(place, "supervisor", "ended")
        if waiting and time.monotonic() - started > wait_s:
            raise _not_up(place, next(iter(waiting)), f"was not up within {wait_s:.0f} s")
        time.sleep(_LOOK_EVERY_S if waiting else 0)


def raise_if_failed(place: Place) -> None:
    """Say which service gave up first.

    Raises:
        StepladderError: one did.
    """
    if place.failed.is_file():
        failed = read_json(place.failed)
        raise _not_up(place, failed["service"], f"ended with exit code {failed['code']}")


def _not_up(place: Place, name: str, what: str) -> StepladderError:
    log = place.log(name)
    said = f":\n{tail(log)}" if log.is_file() else ""
    title = SERVICES[name].title if name in SERVICES else f"the {name}"
    return StepladderError(
        f"{title} {what}{said}",
        where=str(log),
        remedy="mend what the log says; `stepladder doctor` checks more",
    )
