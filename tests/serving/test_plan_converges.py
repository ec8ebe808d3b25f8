"""Any order of alias moves, crashes, failures, outages and restarts ends in what the registry wants.

The world around the plan is simulated: engines that take memory, a registry that may be away, releases of
which some never start, fail their smoke cases or are not what was registered. After every step it holds that
nothing but a good release answers; when the storm is over, the wanted one does.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.engines import NoRoomError
from serving.plan import Actual, Held, Load, Remember, Stop, Switch, Unload, plan, target
from serving.registry import Note, with_notes
from serving.settings import Reconcile
from serving.smoke import RefusalError
from serving.troubles import Troubles
from stepladder.errors import StepladderError
from stepladder.promotion import Standing, Version

GOOD = ("1", "2", "3")
FAULTS = {"4": RefusalError("smoke"), "5": RefusalError("digest"), "6": StepladderError("never starts")}
NUMBERS = st.sampled_from([*GOOD, *FAULTS])
ENGINE_GIB = 3.0


class World(RuleBasedStateMachine):
    """A task's registry, machine and reconciler."""

    @initialize(memory_gib=st.sampled_from([3.0, 6.0, 12.0]))
    def begin(self, memory_gib: float) -> None:
        self.memory_gib = memory_gib
        self.registry = Standing(
            versions={n: Version(version=n, digest=n, rung="prompt") for n in [*GOOD, *FAULTS]}
        )
        self.away = False
        self.clock = 0.0
        self.ids = itertools.count(1)
        self.recorded = Standing()
        self.start()

    def start(self) -> None:
        """The process begins: what it knows is the record that the last one left."""
        self.held: dict[int, Held] = {}
        self.answering: int | None = None
        self.under_way: list[Version] = []
        self.notes: list[Note] = []
        self.troubles = Troubles(Reconcile(), lambda: self.clock)
        self.wanted = self.recorded

    # What people, and fate, do.

    @rule(number=NUMBERS)
    def alias_is_moved(self, number: str) -> None:
        self.registry = self.registry.model_copy(update={"champion": number})

    @rule(number=NUMBERS)
    def refusal_is_taken_back(self, number: str) -> None:
        version = self.registry.versions[number].model_copy(update={"refused": None})
        versions = {**self.registry.versions, number: version}
        self.registry = self.registry.model_copy(update={"versions": versions})

    @rule()
    def alias_is_deleted(self) -> None:
        self.registry = self.registry.model_copy(update={"champion": None})

    @rule()
    def rolled_back(self) -> None:
        before = {"champion": self.registry.previous, "previous": self.registry.champion}
        if self.registry.previous:
            self.registry = self.registry.model_copy(update=before)

    @rule()
    def engines_die(self) -> None:
        self.held = {number: replace(one, alive=False) for number, one in self.held.items()}

    @rule(users=st.integers(0, 2))
    def requests_come_and_go(self, users: int) -> None:
        self.held = {
            number: replace(one, users=users if number == self.answering else min(one.users, users))
            for number, one in self.held.items()
        }

    @rule(away=st.booleans())
    def registry_goes_or_comes(self, away: bool) -> None:
        self.away = away

    @rule()
    def gateway_is_killed(self) -> None:
        self.start()

    @precondition(lambda self: self.under_way)
    @rule(killed=st.booleans())
    def load_ends(self, killed: bool) -> None:
        version = self.under_way.pop()
        used = sum(ENGINE_GIB for one in self.held.values() if one.alive)
        fault: Exception | None = FAULTS.get(version.version)
        if used and used + ENGINE_GIB > self.memory_gib:
            fault = NoRoomError(used + ENGINE_GIB - self.memory_gib)
        elif killed and not fault:
            fault = StepladderError("the engine was killed")
        if fault:
            if reason := self.troubles.add(version, fault):
                self.notes.append(Note("t", version.version, "refused", reason))
            return
        number = next(self.ids)
        self.held[number] = Held(number, version.version, frees_gib=ENGINE_GIB)
        self.troubles.forget(version.version)
        self.notes.append(Note("t", version.version, "passed"))

    # What the reconciler does.

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def look(self, seconds: float = 3.0) -> None:
        self.clock += seconds
        if not self.away:
            self.registry = with_notes({"t": self.registry}, self.notes)["t"]
            self.notes, self.wanted = [], self.registry
        wanted = with_notes({"t": self.wanted}, self.notes)["t"]
        self.recorded = wanted
        for action in plan(wanted, self.actual()):
            self.act(action)

    def actual(self) -> Actual:
        return Actual(
            serving=self.answering,
            held=tuple(self.held.values()),
            loading=frozenset(one.version for one in self.under_way),
            resting=self.troubles.resting,
            cramped=self.troubles.cramped,
        )

    def act(self, action: object) -> None:
        match action:
            case Load(version):
                self.under_way.append(version)
            case Switch(number):
                self.answering = number
            case Stop():
                self.answering = None
            case Unload(number):
                assert number != self.answering
                assert not self.held[number].users
                del self.held[number]
                self.troubles.memory_came_back()
            case Remember(version):
                self.notes.append(Note("t", version, "previous"))

    @invariant()
    def only_good_releases_answer(self) -> None:
        if getattr(self, "answering", None) is not None:
            assert self.held[self.answering].version in GOOD

    def teardown(self) -> None:
        """The storm is over: with the registry back and no more faults, it converges."""
        if not hasattr(self, "registry"):
            return
        self.away = False
        answered_before = self.held[self.answering].version if self.answering else None
        for _ in range(60):
            self.look(10.0)
            self.held = {number: replace(one, users=0) for number, one in self.held.items()}
            while self.under_way:
                self.load_ends(False)
            if not (plan(self.registry, self.actual()) or self.notes or self.troubles.resting):
                break
        self.has_converged(answered_before)

    def has_converged(self, answered_before: str | None) -> None:
        wanted, actual = self.registry, self.actual()
        assert plan(wanted, actual) == []
        aim = target(wanted, actual)
        now = actual.champion
        assert (now.version if now else None) == (aim.version if aim else None)
        assert now is None or now.alive
        assert sum(ENGINE_GIB for _ in self.held) <= max(self.memory_gib, ENGINE_GIB)
        champion = wanted.champion
        refused = champion is not None and wanted.versions[champion].refused is not None
        if champion in GOOD and not refused:
            assert now
            assert now.version == champion
        elif champion is not None and answered_before and not wanted.versions[answered_before].refused:
            assert now, "a champion that fails leaves a good one in its place"


World.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
test_it_converges = World.TestCase
