"""Trials of challengers, from their first request to their end: look, write down, and tell the registry.

Each step is an event in the records (kind ``trial``) and a line in the log; the end is a tag of the version
in MLflow. Nothing but the records is remembered, so a gateway that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from serving.beside import beside
from serving.canary import Look, look
from serving.observations import observations
from serving.registry import Note
from serving.router import Trial
from serving.store import Event
from stepladder.failures import first_line

if TYPE_CHECKING:
    import sqlite3

    from serving.gateway import Gateway
    from serving.reconciler import Reconciler

log = logging.getLogger("serving")
_KIND = "trial"
_DECIDED = ("promote", "send back")
_STOPPED = "stopped"
# They are of no release: so the index finds them.
_TRIALS = "SELECT at, body FROM events WHERE kind = ? AND task = ? AND release = '' ORDER BY seq DESC"


class Trials:
    """Looks at every trial that runs, now and then."""

    def __init__(self, gateway: Gateway, reconciler: Reconciler) -> None:
        self._gateway = gateway
        self._reconciler = reconciler

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look while the block runs."""
        async with beside(self._run()):
            yield

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception as error:  # the next look starts afresh
                log.error(
                    "looking at trials failed, trying on: %s: %s", type(error).__name__, first_line(error)
                )
            await asyncio.sleep(self._gateway.settings.canary.every_s)

    async def step(self) -> None:
        """Look at each trial once."""
        for task, lineup in self._gateway.router.lineups.items():
            if await self._settle(task):
                continue
            if lineup.trial and self._reconciler.is_tried(task, lineup.trial):
                await self._look(task, lineup.trial)

    async def _settle(self, task: str) -> bool:
        """Bring to its end what has ended: whether that leaves nothing to look at now.

        A person may have ended or changed a trial: that is written down, so that the next one begins anew. A
        gateway that was killed may have written a decision down and not told the registry: it does so again.
        """
        body = await self._last(task)
        if body is None or body["step"] == _STOPPED:
            return False
        trial, decided = Trial(**body["trial"]), body["step"] in _DECIDED
        if decided and self._reconciler.has_end(task, trial, body["id"]):
            return False
        # Where the kill came during the promotion, the challenger is the champion already, its share is gone
        # or not, and the end is not written.
        promoted = replace(trial, champion=trial.challenger)
        known = (trial, promoted, replace(promoted, share=0.0, shadow=False)) if decided else (trial,)
        if not any(self._reconciler.is_tried(task, one) for one in known):
            self._write(task, trial, body["id"], _STOPPED, {"reason": "ended by hand"})
            return False
        if decided:
            self._end(task, trial, body["id"], body["step"], body["reason"])
        return decided

    async def _look(self, task: str, trial: Trial) -> None:
        trial_id, since = await self._begun(task, trial)
        settings, records = self._gateway.settings.canary, self._gateway.settings.records.path
        now = time.time()
        await self._gateway.store.committed()
        seen = await asyncio.to_thread(
            observations,
            records,
            task,
            trial,
            since,
            now,
            settings.slow_s,
            settings.feedback_after_s,
        )
        found = await asyncio.to_thread(look, trial, seen, settings)
        self._write(task, trial, trial_id, found.step, _told(found))
        if found.step in _DECIDED:
            self._end(task, trial, trial_id, found.step, found.reason)

    async def _last(self, task: str) -> dict[str, Any] | None:
        """The last event of the task's trials."""

        def last(connection: sqlite3.Connection) -> dict[str, Any] | None:
            found = connection.execute(f"{_TRIALS} LIMIT 1", (_KIND, task)).fetchone()
            return json.loads(found[1]) if found else None

        return await self._gateway.store.call(last)

    async def _begun(self, task: str, trial: Trial) -> tuple[str, float]:
        """The id of the trial that runs, which is written down at its begin, and since when it may run.

        That is the end of the task's last trial: what came after belongs to this one.
        """

        def known(connection: sqlite3.Connection) -> tuple[str | None, float]:
            running = None
            for at, text in connection.execute(_TRIALS, (_KIND, task)):
                body = json.loads(text)
                if body["step"] in (*_DECIDED, _STOPPED):
                    return running, float(at)
                running = running or (body["id"] if body["trial"] == asdict(trial) else None)
            return running, 0.0

        trial_id, since = await self._gateway.store.call(known)
        if trial_id is None:
            trial_id = secrets.token_hex(4)
            self._write(task, trial, trial_id, "begin", {})
        return trial_id, since

    def _end(self, task: str, trial: Trial, trial_id: str, step: str, reason: str) -> None:
        version, good = trial.challenger, step == "promote"
        if trial.shadow:
            outcome = f"in the shadow {'it did well' if good else 'it did not do well'}: {reason}"
            note = Note(task, version, "tried", outcome, trial=trial_id)
        elif good:
            note = Note(task, version, "promoted", reason, trial.champion, trial_id)
        else:
            note = Note(task, version, "tried", f"sent back: {reason}", trial=trial_id)
        self._reconciler.note([note])

    def _write(self, task: str, trial: Trial, trial_id: str, step: str, more: dict[str, Any]) -> None:
        log.info("%s: trial of version %s: %s %s", task, trial.challenger, step, more.get("reason", ""))
        body = {"id": trial_id, "trial": asdict(trial), "step": step, **more}
        self._gateway.store.append(Event(_KIND, "", task, "", body, time.time()))


def _told(found: Look) -> dict[str, Any]:
    return {
        "reason": found.reason,
        "exposure": found.exposure,
        "agreement": found.agreement,
        "differences": {name: asdict(one) for name, one in found.differences.items()},
    }
