"""Start the stack, wait until all of it is up, and end it at will."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from stepladder.files import write_text
from stepladder.stack import postgres
from stepladder.stack.database import Database, start_database, why_no_postgres
from stepladder.stack.ending import end_all
from stepladder.stack.environment import addresses, as_shell, environment
from stepladder.stack.flows import set_up_flows
from stepladder.stack.place import Place, open_place
from stepladder.stack.ports import Ports, of_use, read_ports, require_free
from stepladder.stack.running import Running, read_running, record
from stepladder.stack.waiting import await_all, raise_if_failed

Say = Callable[[str], None]
_LOOK_EVERY_S = 0.5


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
    place = open_place(root)
    with place.only_one():
        running = read_running(place)
        if running and running.lives:
            say("the stack runs already")
            _wake_database(place, running, say)
            await_all(place, running, wait_s, since=0, say=say)
            set_up_flows(place, running.ports, say)  # the `up` that started it may have been killed before
            return running
        end_all(place, say)
        try:
            started = time.time()
            running = _start(place, say)
            await_all(place, running, wait_s, since=started, say=say)
            set_up_flows(place, running.ports, say)
        except BaseException:
            end_all(place, say)
            raise
        return running


def down(root: Path, say: Say) -> int:
    """End the stack of a project, and what an earlier one that was killed left.

    Returns:
        How many processes were ended.
    """
    place = open_place(root)
    with place.only_one():
        return end_all(place, say)


def stay(root: Path, running: Running) -> None:
    """Wait while the stack runs.

    Raises:
        StepladderError: a service gave up, which ended the stack.
    """
    while running.lives:
        time.sleep(_LOOK_EVERY_S)
    raise_if_failed(open_place(root))


def _start(place: Place, say: Say) -> Running:
    ports = read_ports(place.root)
    place.logs.mkdir(parents=True, exist_ok=True)
    why = why_no_postgres(place)
    require_free(of_use(ports, postgres=not why))
    database = start_database(place, ports["postgres"], why)
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


def _wake_database(place: Place, running: Running, say: Say) -> None:
    """Start Postgres where it was ended under the services, which connect to it again by themselves."""
    if running.database == "postgres" and not postgres.is_running(place):
        say("Postgres has ended; starting it again")
        postgres.start(place, running.ports["postgres"])


def _tell_database(place: Place, database: Database, say: Say) -> None:
    say(f"database: {database.kind}" + (f" ({database.why})" if database.why else ""))
    if database.kind == "postgres" and (place.root / "mlflow.db").exists():
        say(
            "mlflow.db holds runs and releases from before: STEPLADDER_DATABASE=sqlite serves them, or"
            f" `source {place.environment.relative_to(place.root)} && stepladder climb` registers them here"
        )


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
