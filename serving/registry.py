"""The registry as the reconciler asks it: what is wanted, and what it has to be told."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from stepladder import promotion
from stepladder.failures import first_line
from stepladder.promotion import Standing
from stepladder.releases import use_mlflow
from stepladder.settings import Mlflow
from stepladder.trial import end_trial

log = logging.getLogger("serving")


@dataclass(frozen=True)
class Note:
    """Something to write into the registry about a version; ``reason`` says why.

    ``trial``: of one that was ``tried``, or ``promoted`` after it, the trial's id. ``champion``: of a version
    that is ``promoted``, the one that it was compared with. Where another is champion by then, a person has
    decided meanwhile, and it is left at that.
    """

    task: str
    version: str
    kind: Literal["previous", "refused", "passed", "promoted", "tried", "live"]
    reason: str = ""
    champion: str | None = None
    trial: str = ""


class Registry(Protocol):
    """Where releases are registered. Asked from a thread that may wait."""

    def sync(self, notes: Iterable[Note]) -> tuple[dict[str, Standing], list[Note]]:
        """Write notes, then read every task's standing.

        Returns:
            The standings by task, and the notes that could not be written.

        Raises:
            Exception: it does not answer; nothing is known of the notes.
        """


class MlflowRegistry:
    """See ``Registry``. ``challengers``: whether a task without a champion is answered by its challenger."""

    def __init__(self, settings: Mlflow, tasks: Iterable[str], *, challengers: bool = False) -> None:
        self._settings = settings
        self._tasks = tuple(tasks)
        self._challengers = challengers
        self._open = False
        self._done: list[Note] = []  # written, but then the registry did not answer

    def sync(self, notes: Iterable[Note]) -> tuple[dict[str, Standing], list[Note]]:
        """See ``Registry``."""
        if not self._open:
            use_mlflow(self._settings)
            self._open = True
        unwritten = [note for note in notes if note not in self._done and not self._write(note)]
        found = {task: self._wanted(promotion.standing(task)) for task in self._tasks}
        self._done = []
        # A version that was deleted cannot be told anything any more.
        return found, [one for one in unwritten if one.version in found[one.task].versions]

    def _write(self, note: Note) -> bool:
        if well := _written(note):
            self._done.append(note)
        return well

    def _wanted(self, standing: Standing) -> Standing:
        if self._challengers and standing.champion is None:
            return standing.model_copy(update={"champion": standing.challenger, "stands_in": True})
        return standing


def _written(note: Note) -> bool:
    try:
        if note.kind == "previous":
            promotion.remember(note.task, note.version)
        elif note.kind == "passed":
            promotion.note_passed(note.task, note.version)
        elif note.kind == "live":
            promotion.note_live(note.task, note.version)
        elif note.kind == "tried":
            end_trial(note.task, note.version, note.reason, note.trial)
        elif note.kind == "promoted":
            end_trial(note.task, note.version, _promoted(note), note.trial)
        else:
            promotion.refuse(note.task, note.version, note.reason)
    except Exception as error:
        log.error("%s version %s cannot be marked: %s", note.task, note.version, first_line(error))
        return False
    return True


def _promoted(note: Note) -> str:
    """Promote what did well in its trial, and tell what came of that."""
    now = promotion.standing(note.task).champion
    if now == note.champion:
        promotion.promote(note.task, note.version)
    elif now != note.version:
        return f"not promoted, for the champion is version {now or '(none)'} by now: {note.reason}"
    return f"promoted: {note.reason}"


def with_notes(standings: Mapping[str, Standing], notes: Iterable[Note]) -> dict[str, Standing]:
    """The standings as they will be when the notes are written."""
    found = dict(standings)
    for note in notes:
        known = found.get(note.task)
        version = known.find(note.version) if known else None
        if known is None or version is None:
            continue
        if note.kind == "previous":
            found[note.task] = known.model_copy(update={"previous": note.version})
            continue
        if note.kind == "promoted" and known.champion == note.champion:
            known = known.model_copy(update={"champion": note.version, "previous": known.champion})
        ended = {"share": 0.0, "ended": version.ended | {note.trial}}
        changes: dict[str, dict[str, object]] = {
            "refused": {"refused": note.reason},
            "passed": {"passed": True},
            "tried": ended,
            "promoted": ended,
            "live": {"live": version.live or "now"},
        }
        versions = {**known.versions, note.version: version.model_copy(update=changes[note.kind])}
        found[note.task] = known.model_copy(update={"versions": versions})
    return found
