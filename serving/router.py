"""Which release answers for a task: what the reconciler writes and every request reads.

A ``Lineup`` is immutable and replaced as a whole, so a request that took a ``Serving`` keeps it to its
end while others already get the next one: no answer is ever made by two releases.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from stepladder.data.answers import Check, answer_check
from stepladder.engine import RunningEngine
from stepladder.knowledge.index import Retrieved
from stepladder.releases import CHALLENGER, CHAMPION, Registered
from stepladder.tasks import Task


class Passage(Retrieved):
    """A chunk found, its score, and its tokens, which the context budget is counted in."""

    tokens: int


class Retrieval(Protocol):
    """A release's index, asked without blocking the event loop."""

    async def retrieve(self, question: str) -> list[Passage]:
        """The best passages for a question, best first."""


@dataclass(frozen=True, eq=False)
class Serving:
    """A release that is loaded: its task, the engine that runs its model, and its index, if it has one.

    Compared and hashed by identity: the same release loaded twice is two servings, each drained alone.
    ``loaded``: when, Unix seconds.
    """

    registered: Registered
    task: Task
    engine: RunningEngine
    retrieval: Retrieval | None = None
    loaded: int = field(default_factory=lambda: int(time.time()))

    @property
    def name(self) -> str:
        """The task's name; that of ``task.folder`` is "task" in a release."""
        return self.registered.release.task

    def is_valid(self, text: str) -> bool:
        """Whether an answer has the form that the task asks for."""
        return self._check(text) is None

    @cached_property
    def _check(self) -> Check:
        return answer_check(self.task.spec.output_schema, self.task.folder / "task.yaml")

    @cached_property
    def digest(self) -> str:
        """The release's digest."""
        return self.registered.release.digest


@dataclass(frozen=True)
class Trial:
    """The challenger is tried on a ``share`` of users and conversations; with ``shadow``, unseen."""

    champion: str
    challenger: str
    share: float
    shadow: bool = False

    def takes(self, unit: str) -> bool:
        """Whether it is the challenger that answers this user or conversation: always, or never."""
        drawn = hashlib.sha256(f"{self.challenger}\0{unit}".encode()).digest()[:8]
        return int.from_bytes(drawn) < self.share * 2**64


@dataclass(frozen=True)
class Lineup:
    """The loaded releases of one task by alias, or what clients are told of why no champion answers.

    ``awaited``: whether one is to answer soon, or it is not known yet that there is none.
    """

    servings: Mapping[str, Serving]
    reason: str = "no release of this task is promoted yet"
    trial: Trial | None = None
    awaited: bool = False

    @property
    def champion(self) -> Serving | None:
        """What answers unless a request names another release."""
        return self.servings.get(CHAMPION)

    def answering(self, unit: str) -> Serving | None:
        """What answers a user or conversation."""
        if self.trial and not self.trial.shadow and self.trial.takes(unit):
            return self.servings.get(CHALLENGER) or self.champion
        return self.champion

    def find(self, release: str) -> Serving | None:
        """A loaded release by alias or registry version."""
        by_version = {serving.registered.version: serving for serving in self.servings.values()}
        return self.servings.get(release) or by_version.get(release)


class Router:
    """The line-up of every task, and how many requests use each serving.

    All methods are for the event loop's thread; from another, use ``loop.call_soon_threadsafe``.
    """

    def __init__(self, tasks: Mapping[str, Lineup] | None = None) -> None:
        self._lineups: dict[str, Lineup] = dict(tasks or {})
        self._used: Counter[Serving] = Counter()

    @property
    def lineups(self) -> Mapping[str, Lineup]:
        """The line-ups by task, as they are now."""
        return self._lineups

    def put(self, task: str, lineup: Lineup) -> None:
        """Replace a task's line-up: requests that start from now on use it."""
        self._lineups = {**self._lineups, task: lineup}

    @contextmanager
    def using(self, serving: Serving) -> Iterator[Serving]:
        """Hold a serving: until the block is left it counts as in use."""
        self._used[serving] += 1
        try:
            yield serving
        finally:
            self._used[serving] -= 1
            if not self._used[serving]:
                del self._used[serving]

    def in_use(self, serving: Serving) -> int:
        """How many requests hold a serving."""
        return self._used[serving]
