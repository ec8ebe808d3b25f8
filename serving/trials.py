"""Trials of challengers, from their first request to their end: look, write down, and tell the registry.

Each step is an event in the records (kind ``trial``) and a line in the log; the end is a tag of the version
in MLflow. Nothing but the records is remembered, so a gateway that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
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
_ENDS = ("promote", "send back", "stopped")
# They are of no release: so the index finds them.
_TRIALS = "SELECT at, body FROM events WHERE kind = ? AND task = ? AND release = '' ORDER BY seq DESC"


class Trials:
    """Looks at every trial that runs, now and then."""

    def __init__(self, gateway: Gateway, reconciler: Reconciler) -> None:
        self._gateway = gateway
        self._reconciler = reconciler
        self._ended: dict[str, Trial] = {}

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
            await self._end_if_stopped(task)
            if lineup.trial is None or not self._reconciler.is_tried(task, lineup.trial):
                self._ended.pop(task, None)
            elif self._ended.get(task) != lineup.trial:  # its end may take a while to reach the line-up
                await self._look(task, lineup.trial)

    async def _look(self, task: str, trial: Trial) -> None:
        since = await self._since(task, trial)
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
        self._write(task, trial, found.step, _told(found))
        if found.step != "go on":
            self._end(task, trial, found)

    async def _end_if_stopped(self, task: str) -> None:
        """Write down that a person ended or changed a trial, so that the next one begins anew."""

        def last(connection: sqlite3.Connection) -> dict[str, Any] | None:
            found = connection.execute(f"{_TRIALS} LIMIT 1", (_KIND, task)).fetchone()
            return json.loads(found[1]) if found else None

        body = await self._gateway.store.call(last)
        if body is None or body["step"] in _ENDS:
            return
        trial = Trial(**body["trial"])
        if not self._reconciler.is_tried(task, trial):
            self._write(task, trial, "stopped", {"reason": "ended by hand"})

    async def _since(self, task: str, trial: Trial) -> float:
        """When the task's last trial ended; what came after belongs to this one. Writes down its begin."""

        def known(connection: sqlite3.Connection) -> tuple[float, bool]:
            begun = False
            for at, text in connection.execute(_TRIALS, (_KIND, task)):
                body = json.loads(text)
                if body["step"] in _ENDS:
                    return float(at), begun
                begun = begun or body["trial"] == asdict(trial)
            return 0.0, begun

        since, begun = await self._gateway.store.call(known)
        if not begun:
            self._write(task, trial, "begin", {})
        return since

    def _end(self, task: str, trial: Trial, found: Look) -> None:
        self._ended[task] = trial
        version = trial.challenger
        if trial.shadow:
            good = found.step == "promote"
            outcome = f"in the shadow {'it did well' if good else 'it did not do well'}: {found.reason}"
        else:
            outcome = f"{'promoted' if found.step == 'promote' else 'sent back'}: {found.reason}"
        notes = [Note(task, version, "tried", outcome)]
        if found.step == "promote" and not trial.shadow:
            notes.append(Note(task, version, "promoted", outcome, trial.champion))
        self._reconciler.note(notes)

    def _write(self, task: str, trial: Trial, step: str, more: dict[str, Any]) -> None:
        log.info("%s: trial of version %s: %s %s", task, trial.challenger, step, more.get("reason", ""))
        body = {"trial": asdict(trial), "step": step, **more}
        self._gateway.store.append(Event(_KIND, "", task, "", body, time.time()))


def _told(found: Look) -> dict[str, Any]:
    return {
        "reason": found.reason,
        "exposure": found.exposure,
        "agreement": found.agreement,
        "differences": {name: asdict(one) for name, one in found.differences.items()},
    }
