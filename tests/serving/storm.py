"""So many streams at once while releases are switched: what the clients saw, for a test and a benchmark."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.serving.house import Gate
from tests.serving.reconciling import TASK

BODY = {"model": TASK, "messages": [{"role": "user", "content": "Who?"}], "stream": True}


@dataclass
class Tally:
    """What the clients saw. ``calm_s``, ``switch_s``: seconds of answers without a switch, and during one."""

    by_version: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    over: bool = False
    switching: bool = False
    calm_s: list[float] = field(default_factory=list)
    switch_s: list[float] = field(default_factory=list)

    def took(self, seconds: float, calm: bool) -> None:
        (self.calm_s if calm else self.switch_s).append(seconds)


@dataclass(frozen=True)
class Storm:
    """How it blows. ``says``: the whole answer of a version; ``promote`` makes one the champion.

    A switch lasts until its release has answered each stream, ``patience_s`` at most; then there is calm for
    as long.
    """

    streams: int
    switches: str
    says: Callable[[str], str]
    promote: Callable[[str], None]
    patience_s: float = 60

    async def blow(self, gate: Gate) -> Tally:
        tally = Tally()
        headers = {"Authorization": f"Bearer {gate.house.keys['chat']}"}
        timeout = aiohttp.ClientTimeout(total=self.patience_s)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
            clients = [self._ask_on(session, gate.url, tally) for _ in range(self.streams)]
            await asyncio.gather(self._move_aliases(tally), *clients)
        return tally

    async def _ask_on(self, session: aiohttp.ClientSession, url: str, tally: Tally) -> None:
        while not tally.over:
            began, calm = time.monotonic(), not tally.switching
            async with session.post(f"{url}/v1/chat/completions", json=BODY) as answer:
                events = [line[6:].strip() async for line in answer.content if line.startswith(b"data: ")]
            tally.took(time.monotonic() - began, calm and not tally.switching)
            if answer.status != 200 or not events or events[-1] != b"[DONE]":
                tally.failed.append(f"{answer.status}: {events[-1:]}")
                await asyncio.sleep(0.1)
                continue
            told: list[dict[str, Any]] = [json.loads(event) for event in events[:-1]]
            versions = {one["stepladder"]["version"] for one in told if "stepladder" in one}
            text = "".join(choice["delta"].get("content", "") for one in told for choice in one["choices"])
            if [text] != [self.says(version) for version in versions]:
                tally.mixed.append(f"{versions}: {text}")
            tally.by_version.update(versions)

    async def _move_aliases(self, tally: Tally) -> None:
        try:
            for version in self.switches:
                tally.switching = True
                self.promote(version)
                await self._more(tally, version)
                tally.switching = False
                await self._more(tally, version)
                await self._more(tally, version)
        finally:
            tally.over = True

    async def _more(self, tally: Tally, version: str) -> None:
        wanted = tally.by_version[version] + self.streams
        async with asyncio.timeout(self.patience_s):
            while tally.by_version[version] < wanted:
                await asyncio.sleep(0.02)
