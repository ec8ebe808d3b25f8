"""Any order of alias moves, crashes, failures, outages and restarts ends in what the registry wants.

The reconciler is the real one. The world around it is simulated: engines that take memory, a registry that
may be away, releases of which some never start, fail their smoke cases or are not what was registered.
Loads end when the world says so. After every step it holds that nothing but a good release answers, and that
nothing is unloaded under a request; when the storm is over, the wanted release answers for each task.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.engines import NoRoomError
from serving.loading import Loaded, UnfetchedError
from serving.plan import target
from serving.reconciler import Reconciler
from serving.registry import Note, with_notes
from serving.router import Router, Serving
from serving.settings import Reconcile
from serving.smoke import MismatchError, RefusalError
from serving.troubles import Troubles
from stepladder.engine import RunningEngine
from stepladder.errors import StepladderError
from stepladder.promotion import Standing, Version
from stepladder.releases import Registered
from tests.serving.house import release_of, task_of

TASKS = ("a", "b")
GOOD = ("1", "2", "3")
FAULTS = {"4": RefusalError("smoke"), "5": RefusalError("digest"), "6": StepladderError("never starts")}
A_TASK, NUMBERS = st.sampled_from(TASKS), st.sampled_from([*GOOD, *FAULTS])
ENGINE_GIB = 3.0


class Jobs(Executor):
    """A thread's work, done when the world lets it be done."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self.waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()

        def job() -> None:
            try:
                done.set_result(fn(*args, **kwargs))
            except Exception as error:
                done.set_exception(error)

        self.waiting.append(job)
        if self.at_once:
            self.work()
        return done

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        self.work()


class Machine:
    """The engines that run, and what they take."""

    def __init__(self, memory_gib: float) -> None:
        self.memory_gib = memory_gib
        self.alive: set[RunningEngine] = set()
        self.made = 0
        self.fault: Exception | None = None
        self.router = Router()
        self.wrong: list[str] = []

    def load(self, task: str, version: Version) -> Loaded:
        fault = FAULTS.get(version.version, self.fault)
        if isinstance(fault, MismatchError) and not version.passed:
            fault = None  # a good release answers well at first: what fails later is the machine
        used = ENGINE_GIB * len(self.alive)
        if used and used + ENGINE_GIB > self.memory_gib:
            fault = NoRoomError(used + ENGINE_GIB - self.memory_gib)
        if fault:
            raise fault
        self.made += 1
        engine = RunningEngine(f"http://{self.made}/v1", "m")
        self.alive.add(engine)
        registered = Registered(release=release_of(task), version=version.version, folder=Path())
        serving = Serving(registered, task_of(task, Path()), engine)
        router = self.router

        def close() -> None:
            if router is self.router and router.in_use(serving):
                self.wrong.append(f"version {version.version} of {task} was unloaded under a request")
            self.alive.discard(engine)

        return Loaded(serving, close, lambda: ENGINE_GIB)

    def abort(self) -> None:
        """Loads here take no time."""

    def tidy(self, digests: Collection[str]) -> None:
        """Nothing lies on a disk."""


class Probe:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    async def look(self, _: Collection[RunningEngine]) -> None:
        """What is alive is known at once."""

    def alive(self, engine: RunningEngine) -> bool:
        return engine in self.machine.alive

    def lacks_model(self, _: RunningEngine) -> bool:
        return False

    async def close(self) -> None:
        """Nothing is open."""


class FakeRegistry:
    def __init__(self) -> None:
        versions = {n: Version(version=n, digest=n, rung="prompt") for n in [*GOOD, *FAULTS]}
        self.standings = {task: Standing(versions=versions) for task in TASKS}
        self.away = False

    def sync(self, notes: Iterable[Note]) -> tuple[dict[str, Standing], list[Note]]:
        if self.away:
            raise ConnectionError("refused")
        self.standings = with_notes(self.standings, notes)
        return self.standings, []

    def change(self, task: str, **changes: Any) -> None:
        self.standings = {**self.standings, task: self.standings[task].model_copy(update=changes)}

    def change_version(self, task: str, number: str, **changes: Any) -> None:
        versions = self.standings[task].versions
        changed = versions[number].model_copy(update=changes)
        self.change(task, versions={**versions, number: changed})


class World(RuleBasedStateMachine):
    """Two tasks' registry, one machine and its reconciler."""

    @initialize(memory_gib=st.sampled_from([6.0, 9.0, 18.0]))
    def begin(self, memory_gib: float) -> None:
        self.closing = ExitStack()
        self.folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory()))
        self.loop = asyncio.new_event_loop()
        self.closing.callback(self.loop.close)
        self.machine, self.registry = Machine(memory_gib), FakeRegistry()
        self.clock = 0.0
        self.start()
        for task in TASKS:
            self.alias_is_moved(task, "1")
        self.all_goes_well()

    def start(self) -> None:
        """The process begins: what it knows is the record that the last one left."""
        self.machine.router = Router()
        self.requests: list[ExitStack] = []
        made = Reconciler(
            self.machine.router, TASKS, self.registry, self.machine, self.folder / "serving.json", Reconcile()
        )
        self.loading = made._loading_thread = Jobs(at_once=False)  # type: ignore[assignment]
        made._registry_thread = Jobs(at_once=True)  # type: ignore[assignment]
        made._probe = Probe(self.machine)  # type: ignore[assignment]
        made._troubles = {task: Troubles(Reconcile(), lambda: self.clock) for task in TASKS}
        self.reconciler = made

    # What people, and fate, do.

    @rule(task=A_TASK, number=st.sampled_from([*GOOD, *GOOD, *FAULTS, None]), by_hand=st.booleans())
    def alias_is_moved(self, task: str, number: str | None, by_hand: bool = False) -> None:
        """Or deleted, by the command or by hand: that leaves the tag that tells what answers."""
        if number and not by_hand:
            self.registry.change_version(task, number, live=None)
        self.registry.change(task, champion=number)

    @rule(task=A_TASK, number=st.sampled_from(GOOD))
    def promotion_goes_well(self, task: str, number: str) -> None:
        self.alias_is_moved(task, number)
        self.all_goes_well()

    @rule(task=A_TASK, number=st.sampled_from(GOOD))
    def task_pauses(self, task: str, number: str) -> None:
        """What others load into its memory meanwhile has to give way again."""
        self.alias_is_moved(task, None)
        self.all_goes_well(3)
        self.alias_is_moved(task, number)

    @rule(task=A_TASK, number=NUMBERS, share=st.sampled_from([0.1, 0.1, 0.0]))
    def challenger_is_tried(self, task: str, number: str, share: float) -> None:
        self.registry.change_version(task, number, share=share)
        self.registry.change(task, challenger=number)

    @rule(task=A_TASK)
    def trial_ends_well(self, task: str) -> None:
        if trial := self.machine.router.lineups[task].trial:
            number, champion = trial.challenger, trial.champion
            self.reconciler.note([Note(task, number, "promoted", "", champion)])

    @rule(task=A_TASK, number=NUMBERS)
    def refusal_is_taken_back(self, task: str, number: str) -> None:
        self.registry.change_version(task, number, refused=None)

    @rule(task=A_TASK)
    def rolled_back(self, task: str) -> None:
        now = self.registry.standings[task]
        if now.previous:
            self.registry.change_version(task, now.previous, live=None)
            self.registry.change(task, champion=now.previous, previous=now.champion)

    @rule()
    def engines_die(self) -> None:
        self.machine.alive.clear()

    @rule(task=A_TASK)
    def request_begins(self, task: str) -> None:
        if champion := self.machine.router.lineups[task].champion:
            self.requests.append(ExitStack())
            self.requests[-1].enter_context(self.machine.router.using(champion))

    @rule()
    def requests_end(self) -> None:
        while self.requests:
            self.requests.pop().close()

    @rule(away=st.booleans())
    def registry_goes_or_comes(self, away: bool) -> None:
        self.registry.away = away

    @rule()
    def gateway_is_killed(self) -> None:
        """Its engines end with it, and nothing that it was doing is finished."""
        self.loading.waiting.clear()
        for one in asyncio.all_tasks(self.loop):
            one.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.machine.alive.clear()
        self.start()

    @precondition(lambda self: self.loading.waiting)
    @rule(
        fault=st.sampled_from(
            [None, StepladderError("the engine was killed"), UnfetchedError("away"), MismatchError("smoke")]
        )
    )
    def loads_end(self, fault: Exception | None) -> None:
        self.machine.fault = fault
        self.loading.work()
        self.machine.fault = None
        self.loop.run_until_complete(asyncio.sleep(0.001))

    @rule(times=st.integers(1, 4))
    def all_goes_well(self, times: int = 2) -> None:
        for _ in range(times):
            self.look()
            self.loads_end(None)
        self.look()

    @rule(seconds=st.sampled_from([1.0, 100.0]))
    def look(self, seconds: float = 10.0) -> None:
        self.clock += seconds
        self.loop.run_until_complete(self.reconciler.step())

    @invariant()
    def only_good_releases_answer(self) -> None:
        for lineup in self.machine.router.lineups.values() if hasattr(self, "machine") else ():
            assert lineup.champion is None or lineup.champion.registered.version in GOOD
        assert getattr(self, "machine", Machine(0)).wrong == []

    def teardown(self) -> None:
        """The storm is over: with the registry back and no more faults, it converges."""
        if not hasattr(self, "machine"):
            return
        with self.closing:
            self.registry.away = False
            self.requests_end()
            answered = {task: self.answers(task) for task in TASKS}
            calm = 0
            for _ in range(60):
                before = self.state()
                self.look()
                self.loads_end(None)
                calm = calm + 1 if self.state() == before else 0
                if calm == 4:
                    break
            self.only_good_releases_answer()
            for task in TASKS:
                self.has_converged(task, answered[task])
            assert ENGINE_GIB * len(self.machine.alive) <= self.machine.memory_gib
            self.loop.run_until_complete(self.reconciler._close())
            assert not self.machine.alive, "every engine is ended"
            self.loop.run_until_complete(self.loop.shutdown_default_executor())

    def answers(self, task: str) -> str | None:
        champion = self.machine.router.lineups[task].champion
        alive = champion is not None and champion.engine in self.machine.alive
        return champion.registered.version if champion and alive else None

    def state(self) -> object:
        loaded = sorted(engine.url for engine in self.machine.alive)
        return loaded, self.registry.standings, [self.answers(task) for task in TASKS]

    def has_converged(self, task: str, answered_before: str | None) -> None:
        wanted, answers = self.registry.standings[task], self.answers(task)
        aim = target(wanted, self.reconciler._actual(task))
        assert answers == (aim.version if aim else None)
        champion = wanted.find(wanted.champion)
        if champion and champion.version in GOOD and not champion.refused:
            assert answers == champion.version
            assert champion.live, "who waits for it hears of it"
        elif champion and answered_before and not wanted.versions[answered_before].refused:
            assert answers, "a champion that fails leaves a good one in its place"


World.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
test_it_converges = World.TestCase
