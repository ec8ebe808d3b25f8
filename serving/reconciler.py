"""The loop that makes what answers what the registry wants: observe, plan, act, every few seconds.

It keeps nothing that a restart would miss: what is wanted stands in the registry (and, for when that is
away, in the last record), what is there is looked at anew each time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving import plan as planning
from serving.beside import Leavable, beside
from serving.condition import task_record
from serving.loading import Loaded
from serving.plan import Action, Actual, EndTrial, Held, Load, Remember, Stop, Switch, Unload
from serving.probe import Probe
from serving.registry import Note, Registry, with_notes
from serving.router import Lineup, Router, Serving, Trial
from serving.settings import Reconcile
from serving.troubles import Troubles
from stepladder.failures import first_line
from stepladder.promotion import PREVIOUS, Standing, Version
from stepladder.releases import CHALLENGER, CHAMPION
from stepladder.serving_record import ServingRecord, read_record, write_record

log = logging.getLogger("serving")
_REGISTRY_PATIENCE_S = 5.0
_LOADING = Lineup({}, "no release of this task is loaded yet", awaited=True)


class Loads(Protocol):
    """See ``serving.loading.Loader``."""

    def load(self, task: str, version: Version) -> Loaded:
        """Load a version and try its smoke cases."""

    def abort(self) -> None:
        """Let a load that is under way fail soon."""

    def tidy(self, digests: Collection[str]) -> None:
        """Remove what releases other than these left on the disk."""


@dataclass(frozen=True)
class _Kept:
    task: str
    version: str
    loaded: Loaded


class Reconciler:
    """Runs on the gateway's event loop; what may wait runs in two threads, for loading and for the registry.

    Args:
        router: gets the line-ups.
        tasks: the tasks to serve.
        registry: what is wanted.
        loader: loads releases.
        record: the file that tells what is there.
        settings: the section ``reconcile`` of ``serving.yaml``.
    """

    def __init__(
        self,
        router: Router,
        tasks: Iterable[str],
        registry: Registry,
        loader: Loads,
        record: Path,
        settings: Reconcile,
    ) -> None:
        self._router = router
        self._tasks = tuple(tasks)
        self._registry = registry
        self._loader = loader
        self._record = record
        self._settings = settings
        self._woken = asyncio.Event()
        # An engine ends with the thread that started it: this one lives as long as the reconciler.
        self._loading_thread = ThreadPoolExecutor(1, "loading")
        self._registry_thread = Leavable()  # a registry that hangs must not hold up the end
        self._probe = Probe()
        self._ids = itertools.count(1)
        self._kept: dict[int, _Kept] = {}
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._mending: dict[int, asyncio.Task[None]] = {}
        self._short = self._pending = False
        self._live: dict[str, str] = {}
        self._troubles = {task: Troubles(settings) for task in self._tasks}
        self._notes: list[Note] = []
        self._syncing: asyncio.Future[tuple[dict[str, Standing], list[Note]]] | None = None
        self._told: list[Note] = []
        self._silence: str | None = None
        self._wanted = self._last_known()
        for task in self._tasks:
            router.put(task, _LOADING)

    def wake(self) -> None:
        """Look now rather than in a few seconds."""
        self._woken.set()

    def note(self, notes: Iterable[Note]) -> None:
        """Have something written into the registry, and act on it at once."""
        self._notes.extend(notes)
        self.wake()

    def is_tried(self, task: str, trial: Trial) -> bool:
        """Whether the registry, as far as it is known, wants this trial."""
        standing = with_notes(self._wanted, [*self._told, *self._notes]).get(task)
        if standing is None:
            return True
        found = standing.find(standing.challenger)
        return found is not None and trial == Trial(
            standing.champion or "", found.version, found.share, found.shadow
        )

    def has_end(self, task: str, trial: Trial, trial_id: str) -> bool:
        """Whether the end of a trial of this id stands in the registry, as far as it is known."""
        standing = with_notes(self._wanted, [*self._told, *self._notes]).get(task)
        found = standing.find(trial.challenger) if standing else None
        return found is None or trial_id in found.ended

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile while the block runs; then end every engine that was started."""
        try:
            async with beside(self._run()):
                yield
        finally:
            await self._close()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self.step()
            except Exception as error:  # the next look starts afresh
                log.error("reconciling failed, trying on: %s: %s", type(error).__name__, first_line(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.every_s):
                    await self._woken.wait()

    async def step(self) -> None:
        """Observe, plan and act once."""
        await self._ask_registry()
        await self._probe.look({kept.loaded.serving.engine for kept in self._kept.values()})
        for number, kept in self._kept.items():
            if self._probe.lacks_model(kept.loaded.serving.engine) and number not in self._mending:
                self._mending[number] = asyncio.create_task(self._mend(number, kept))
        wanted = with_notes(self._wanted, [*self._told, *self._notes])
        self._look_at_champions(wanted)
        for task, standing in wanted.items():
            for action in planning.plan(standing, self._actual(task)):
                self._act(task, standing, action)
            self._line_up(task, standing)
            self._tell_live(task, standing)
        record = self._recorded(wanted)
        await asyncio.get_running_loop().run_in_executor(None, write_record, self._record, record)
        if self._notes:  # someone may wait for them
            self.wake()

    def _look_at_champions(self, wanted: Mapping[str, Standing]) -> None:
        """All tasks' champions come before what is loaded beside any of them."""
        seen = [(standing, self._actual(task)) for task, standing in wanted.items()]
        self._short = any(planning.is_short(*one) for one in seen)
        self._pending = any(planning.is_pending(*one) for one in seen)

    def _last_known(self) -> dict[str, Standing]:
        record = read_record(self._record)
        found = {task: one.wanted for task, one in record.tasks.items()} if record else {}
        return {task: found[task] for task in self._tasks if task in found}

    async def _ask_registry(self) -> None:
        """Learn what is wanted; a registry that is away or slow leaves that as it was."""
        if self._syncing is None:
            self._told, self._notes = [*self._told, *self._notes], []
            self._syncing = asyncio.get_running_loop().run_in_executor(
                self._registry_thread, self._registry.sync, tuple(self._told)
            )
        await asyncio.wait([self._syncing], timeout=_REGISTRY_PATIENCE_S)
        if not self._syncing.done():
            self._fall_silent("it does not answer")
            return
        asked, self._syncing = self._syncing, None
        try:
            self._wanted, self._told = asked.result()
            if self._silence:
                log.info("the registry answers again")
            self._silence = None
        except Exception as error:  # MLflow's, its database's, its server's
            self._fall_silent(first_line(error))

    def _fall_silent(self, reason: str) -> None:
        if self._silence is None:
            log.error("the registry is away, what answers goes on answering: %s", reason)
        self._silence = reason

    def _actual(self, task: str) -> Actual:
        return Actual(
            serving=self._answering(task),
            held=tuple(self._held(number, kept) for number, kept in self._kept.items() if kept.task == task),
            loading=frozenset(version for of, version in self._under_way if of == task),
            resting=self._troubles[task].resting,
            cramped=self._troubles[task].cramped,
            short=self._short,
            pending=self._pending,
        )

    def _answering(self, task: str) -> int | None:
        champion = self._router.lineups[task].champion
        return next((number for number, kept in self._kept.items() if kept.loaded.serving is champion), None)

    def _held(self, number: int, kept: _Kept) -> Held:
        serving = kept.loaded.serving
        return Held(
            id=number,
            version=kept.version,
            alive=self._probe.alive(serving.engine),
            users=self._router.in_use(serving),
            frees_gib=kept.loaded.frees_gib(),
        )

    def _act(self, task: str, standing: Standing, action: Action) -> None:
        match action:
            case Load(version):
                self._under_way[task, version.version] = asyncio.create_task(self._load(task, version))
            case Switch(number):
                kept = self._kept[number]
                log.info("%s: version %s answers now", task, kept.version)
                self._router.put(task, Lineup({CHAMPION: kept.loaded.serving}))
            case Stop(reason):
                log.warning("%s: %s", task, reason)
                self._router.put(task, Lineup({}, planning.excuse(standing)))
            case Unload(number):
                self._unload(task, standing, number)
            case Remember(version):
                self._notes.append(Note(task, version, "previous"))
            case EndTrial(version, reason):
                self._notes.append(Note(task, version, "tried", reason))

    def _line_up(self, task: str, standing: Standing) -> None:
        """Beside the champion, what is tried, and what waits for a rollback. Say that none answers."""
        actual = self._actual(task)
        lineup = self._router.lineups[task]
        aim = planning.target(standing, actual)
        standby, tried = (of(standing, actual, aim) for of in (planning.rollback_target, planning.tried))
        if lineup.champion is None:
            self._router.put(task, Lineup({}, planning.excuse(standing), awaited=aim is not None))
            return
        servings: dict[str, Serving] = {CHAMPION: lineup.champion}
        if standby and standby.id != actual.serving:
            servings[PREVIOUS] = self._kept[standby.id].loaded.serving
        if tried:
            servings[CHALLENGER] = self._kept[tried.id].loaded.serving
        trial = _trial(standing, actual, tried)
        if (servings, trial) != (lineup.servings, lineup.trial):
            self._router.put(task, Lineup(servings, trial=trial))

    def _tell_live(self, task: str, standing: Standing) -> None:
        """Note that the champion answers: where it did not before, and where someone waits to hear it."""
        wanted, now = standing.find(standing.champion), self._actual(task).champion
        if wanted is None or now is None or not now.alive or now.version != wanted.version:
            self._live.pop(task, None)
        elif wanted.live is None or self._live.get(task) != wanted.version:
            self._live[task] = wanted.version
            self._notes.append(Note(task, wanted.version, "live"))

    async def _load(self, task: str, version: Version) -> None:
        log.info("%s: loading version %s", task, version.version)
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(
                self._loading_thread, self._loader.load, task, version
            )
        except Exception as error:
            log.warning("%s: version %s is not loaded: %s", task, version.version, first_line(error))
            if reason := self._troubles[task].add(self._known(task, version), error):
                self._notes.append(Note(task, version.version, "refused", reason))
        else:
            self._troubles[task].forget(version.version)
            self._kept[next(self._ids)] = _Kept(task, version.version, loaded)
            if not version.passed:
                self._notes.append(Note(task, version.version, "passed"))
        finally:
            del self._under_way[task, version.version]
            self.wake()

    def _known(self, task: str, version: Version) -> Version:
        """A version as the registry knows it now: it may have passed elsewhere while it was loaded here."""
        standing = self._wanted.get(task)
        return (standing.find(version.version) if standing else None) or version

    async def _mend(self, number: int, kept: _Kept) -> None:
        """An engine that was started again has forgotten its adapters."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._loading_thread, kept.loaded.mend)
        except Exception as error:
            log.warning("%s: version %s is not mended: %s", kept.task, kept.version, first_line(error))
        finally:
            del self._mending[number]

    def _unload(self, task: str, standing: Standing, number: int) -> None:
        """Take it out of the line-up, then let go of it, if no request came in between."""
        kept = self._kept[number]
        self._line_up(task, standing)
        serving = kept.loaded.serving
        if serving in self._router.lineups[task].servings.values() or self._router.in_use(serving):
            return
        log.info("%s: unloading version %s", task, kept.version)
        del self._kept[number]
        self._loading_thread.submit(kept.loaded.close)
        if self._silence is None and set(self._wanted) >= set(self._tasks):
            self._loading_thread.submit(self._loader.tidy, self._needed())
        for troubles in self._troubles.values():  # they ask again behind this, in the same thread
            troubles.memory_came_back()

    def _needed(self) -> set[str]:
        """Digests of the releases that an alias names, or that are loaded or being loaded here."""
        named = {
            (task, number)
            for task, standing in self._wanted.items()
            for number in (standing.champion, standing.previous, standing.challenger)
        }
        versions = (self._wanted[task].find(number) for task, number in named | set(self._under_way))
        loaded = {kept.loaded.serving.digest for kept in self._kept.values()}
        return loaded | {version.digest for version in versions if version}

    def _recorded(self, wanted: Mapping[str, Standing]) -> ServingRecord:
        tasks = {
            task: task_record(standing, self._actual(task), self._router.lineups[task].champion)
            for task, standing in wanted.items()
        }
        return ServingRecord(at=time.time(), registry=self._silence, tasks=tasks)

    async def _close(self) -> None:
        self._loader.abort()
        await asyncio.gather(*self._under_way.values(), *self._mending.values(), return_exceptions=True)
        for kept in self._kept.values():
            self._loading_thread.submit(kept.loaded.close)
        await asyncio.get_running_loop().run_in_executor(None, self._loading_thread.shutdown)
        await self._probe.close()
        if self._syncing:
            self._syncing.cancel()


def _trial(standing: Standing, actual: Actual, tried: Held | None) -> Trial | None:
    now = actual.champion
    version = standing.find(tried.version) if tried else None
    if now is None or version is None or now.version != standing.champion:
        return None
    return Trial(now.version, version.version, version.share, version.shadow)
