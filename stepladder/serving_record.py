"""What a running gateway tells of itself, in a file: a status needs no key, and a restart no registry."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import Field, ValidationError

from stepladder.errors import StepladderError
from stepladder.files import read_json, write_json
from stepladder.promotion import Standing
from stepladder.tasks import Strict

RECORD = "serving.json"
_SILENT_AFTER_S = 30.0


class Answering(Strict):
    """What answers for a task. ``engine``: its addresses; ``users``: requests that hold it."""

    version: str
    digest: str
    rung: str
    engine: str
    alive: bool
    users: int


class TaskRecord(Strict):
    """A task: what is wanted, what is there, and why they differ (``as wanted`` where they do not).

    ``trial``: the same of the challenger that is to be tried; None where there is none.
    """

    wanted: Standing
    answering: Answering | None = None
    loaded: list[str] = Field(default=[])
    why: str = "as wanted"
    trial: str | None = None


class ServingRecord(Strict):
    """All tasks, ``at`` a time in seconds since 1970; ``registry``: what went wrong when it was last read."""

    at: float
    registry: str | None = None
    tasks: dict[str, TaskRecord] = Field(default={})

    @property
    def is_fresh(self) -> bool:
        """Whether the gateway wrote this just now; otherwise it does not run."""
        return time.time() - self.at < _SILENT_AFTER_S


def write_record(path: Path, record: ServingRecord) -> None:
    """Replace the record."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path) -> ServingRecord | None:
    """The record that was written last; None where there is none, or one of another form."""
    try:
        return ServingRecord.model_validate(read_json(path))
    except (
        StepladderError,
        ValidationError,
    ):  # written by another version
        return None
