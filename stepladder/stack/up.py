"""Start the stack, wait until all of it is up, and end it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from stepladder.engine import tail
from stepladder.errors import StepladderError
from stepladder.files import read_json, write_text
from stepladder.stack import postgres
from stepladder.stack.database import Database, start_database
from stepladder.stack.environment import addresses, as_shell, environment
from stepladder.stack.health import is_up
from stepladder.stack.place import Place
from stepladder.stack.ports import Ports, read_ports, require_free
from stepladder.stack.processes import await_end, end, marked
from stepladder.stack.running import Running, read_running, record
from stepladder.stack.services import SERVICES, Service

Say = Callable[[str], None]
_LOOK_EVERY_S = 0.5
_END_S = 60.0  # for all services together: the gateway lets running answers end
_LEFT_S = 10.0  # for what outlived that


def up(root: Path, wait_s: float, say: Say) -> Running:
    """Start the stack of a project, or find that it runs already, and wait until every service is up.

    What was started is ended again when a service does not come up, or at Ctrl-C.

    Args:
        root: the project's folder, which holds ``Procfile``.
        wait_s: longest to wait, seconds.
        say: told what happens.

    Raises:
        StepladderError: a port is taken, or a service ended or was not up in time: with the end of its log.
    """
    place = _open(root)
    with place.only_one():
        running = read_running(place)
        if running and running.lives:
            say("the stack runs already")
            _await_all(place, running, wait_s, since=0, say=say)
            return running
        _end_all(place, say)
        try:
            started = time.time()
            running = _start(place, say)
            _await_all(place, running, wait_s, since=started, say=say)
        except BaseException:
            _end_all(place, say)
            raise
        return running


def down(root: Path, say: Say) -> int:
    """End the stack of a project, and what an earlier one that was killed left.

    Returns:
        How many processes were ended.
    """
    place = _open(root)
    with place.only_one():
        return _end_all(place, say)


def stay(root: Path, running: Running) -> None:
    """Wait while the stack runs.

    Raises:
        StepladderError: a service gave up, which ended the stack.
    """
    while running.lives:
        time.sleep(_LOOK_EVERY_S)
    _raise_if_failed(_open(root))


def _open(root: Path) -> Place:
    if not (root / "Procfile").is_file():
        raise StepladderError("no Procfile here", where=str(root), remedy="run from the project's root")
    return Place(root.resolve())


def _start(place: Place, say: Say) -> Running:
    ports = read_ports(place.root)
    place.logs.mkdir(parents=True, exist_ok=True)
    require_free(ports)
    database = start_database(place, ports["postgres"])
    _tell_database(place, database, say)
    process = _supervise(place, ports, database)
    running = Running(
        pid=process.pid,
        created=psutil.Process(process.pid).create_time(),
        ports=dict(ports),
        database=database.kind,
    )
    record(place, running)
    write_text(place.environment, as_shell(addresses(place, ports)))
    return running


def _tell_database(place: Place, database: Database, say: Say) -> None:
    say(f"database: {database.kind}" + (f" ({database.why})" if database.why else ""))
    if database.kind == "postgres" and (place.root / "mlflow.db").exists():
        say("mlflow.db holds runs from before: STEPLADDER_DATABASE=sqlite serves them")


def _supervise(place: Place, ports: Ports, database: Database) -> subprocess.Popen[bytes]:
    with place.log("supervisor").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stepladder.stack.supervise"],
            cwd=place.root,
            env=environment(place, ports, database),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C here is for `up`, which ends the stack in order
        )


def _await_all(place: Place, running: Running, wait_s: float, since: float, say: Say) -> None:
    started = time.monotonic()
    waiting = dict(SERVICES)
    while waiting:
        for service in [one for one in waiting.values() if is_up(one, running.ports, since)]:
            say(f"{service.title}: up after {time.monotonic() - started:.0f} s")
            del waiting[service.name]
        _raise_if_failed(place)
        if not running.lives:
            raise _not_up(place, "supervisor", "ended")
        if waiting and time.monotonic() - started > wait_s:
            raise _not_up(place, next(iter(waiting)), f"was not up within {wait_s:.0f} s")
        time.sleep(_LOOK_EVERY_S if waiting else 0)


def _raise_if_failed(place: Place) -> None:
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


def _end_all(place: Place, say: Say) -> int:
    """End supervisor and services, what they left, and Postgres; the number of processes."""
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


def pages(running: Running) -> list[tuple[Service, str]]:
    """The services that have an address, with it."""
    from stepladder.stack.health import address

    return [(service, address(service, running.ports)) for service in SERVICES.values() if service.port]
