"""The record of the stack that runs: who supervises it, and where it answers."""

from __future__ import annotations

import psutil
from pydantic import ValidationError

from stepladder.errors import StepladderError
from stepladder.files import read_json, write_json
from stepladder.stack.place import Place
from stepladder.tasks import Strict

_SAME_S = 0.1  # two readings of when a process was created


class Running(Strict):
    """The supervisor's process, when it was created (process ids are given out again), and the ports."""

    pid: int
    created: float
    ports: dict[str, int]
    database: str

    @property
    def lives(self) -> bool:
        """Whether the supervisor still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(float(process.create_time()) - self.created) < _SAME_S
            return same and str(process.status()) != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def read_running(place: Place) -> Running | None:
    """What was recorded, whether it still runs or not; None where nothing was.

    Raises:
        StepladderError: the record is not one.
    """
    if not place.running.is_file():
        return None
    try:
        return Running.model_validate(read_json(place.running))
    except ValidationError as error:
        raise StepladderError(
            "not a record of a stack",
            where=str(place.running),
            remedy="delete it; `stepladder down` finds what is left by itself",
        ) from error


def record(place: Place, running: Running) -> None:
    """Write the record."""
    write_json(place.running, running.model_dump())
