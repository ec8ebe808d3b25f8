"""A reconciler whose registry is a value and whose releases are stub engines that say their version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from serving.loading import Loaded
from serving.reconciler import Reconciler
from serving.registry import Note, with_notes
from serving.router import Router, Serving
from serving.settings import Reconcile
from stepladder.engine import RunningEngine
from stepladder.promotion import Standing, Version
from stepladder.releases import Registered
from tests.serving.house import release_of, task_of
from tests.stub_engine import StubEngine, stub_engine

TASK = "plain"
WORDS = 20
FAST = Reconcile(every_s=0.05, pause_s=0.01, most_pause_s=0.02)


def said_by(version: str) -> str:
    """All that a release of this version ever says."""
    return " ".join([f"v{version}"] * WORDS)


class FakeRegistry:
    def __init__(self, champion: str | None = None) -> None:
        versions = {n: Version(version=n, digest=n, rung="prompt") for n in "123"}
        self.standing = Standing(champion=champion, versions=versions)
        self.away = False

    def sync(self, notes: Iterable[Note]) -> tuple[dict[str, Standing], list[Note]]:
        if self.away:
            raise ConnectionError("refused")
        self.standing = with_notes({TASK: self.standing}, notes)[TASK]
        return {TASK: self.standing}, []

    def promote(self, version: str | None) -> None:
        """As the command does; a person in MLflow's UI leaves the tags."""
        versions = dict(self.standing.versions)
        for number in {version, self.standing.champion} - {None}:
            versions[number] = versions[number].model_copy(update={"share": 0.0, "shadow": False})
        if version:
            versions[version] = versions[version].model_copy(update={"live": None})
        self.standing = self.standing.model_copy(update={"versions": versions})
        self.move_alias(version)

    def move_alias(self, version: str | None) -> None:
        """As a person does in MLflow's UI."""
        self.standing = self.standing.model_copy(update={"champion": version})

    def live(self, version: str) -> bool:
        return self.standing.versions[version].live is not None

    def try_out(self, version: str, share: float) -> None:
        known = self.standing.versions
        tried = known[version].model_copy(update={"share": share})
        self.standing = self.standing.model_copy(
            update={"challenger": version, "versions": {**known, version: tried}}
        )


@dataclass
class FakeLoader:
    """``faults``: what loading a version raises; ``live``: the stub engines that run, by version."""

    folder: Path
    latency_s: float = 0.0
    faults: dict[str, Callable[[], Exception | None]] = field(default_factory=dict)
    live: list[tuple[str, StubEngine]] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    mended: list[str] = field(default_factory=list)
    needed: list[set[str]] = field(default_factory=list)

    def load(self, task: str, version: Version) -> Loaded:
        self.loads.append(version.version)
        fault = self.faults.get(version.version, lambda: None)()
        if fault:
            raise fault
        number = version.version
        stack = ExitStack()
        engine = stack.enter_context(stub_engine(lambda _: said_by(number), self.latency_s))
        entry = (number, engine)
        self.live.append(entry)
        stack.callback(self.live.remove, entry)
        registered = Registered(
            release=release_of(task, prompt_digest=number), version=number, folder=self.folder
        )
        url = engine.url
        running = RunningEngine(url, "stub", log=Path("log"), alive=lambda: url not in self.dead)
        return Loaded(
            Serving(registered, task_of(task, self.folder), running),
            stack.close,
            lambda: 3.0,
            lambda: self.mended.append(number),
        )

    def abort(self) -> None:
        """Loads here take no time."""

    def tidy(self, digests: Collection[str]) -> None:
        self.needed.append(set(digests))

    def kill_all(self) -> None:
        self.dead |= {engine.url for _, engine in self.live}


@dataclass
class Shop:
    """All of it."""

    router: Router
    registry: FakeRegistry
    loader: FakeLoader
    reconciler: Reconciler

    @property
    def answers(self) -> str | None:
        champion = self.router.lineups[TASK].champion
        return champion.registered.version if champion else None

    async def until(self, true: Callable[[], bool]) -> None:
        """Look again and again until it is so."""
        for _ in range(2000):
            await self.reconciler.step()
            if true():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it did not come true")

    async def answers_with(self, version: str | None) -> None:
        await self.until(lambda: self.answers == version)


def shop_in(folder: Path, champion: str | None, router: Router | None = None, latency_s: float = 0) -> Shop:
    made = router or Router()
    registry, loader = FakeRegistry(champion), FakeLoader(folder, latency_s)
    return Shop(made, registry, loader, reconciler_of(made, registry, loader, folder))


def reconciler_of(router: Router, registry: FakeRegistry, loader: FakeLoader, folder: Path) -> Reconciler:
    return Reconciler(router, [TASK], registry, loader, folder / "serving.json", FAST)
