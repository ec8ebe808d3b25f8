"""Twenty streams at once, ten promotions and rollbacks: no answer fails, none is of two releases.

Run as a module it tells the p99 of answers during a switch and without one:
python -m tests.serving.test_promotion_under_load
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import aiohttp

from tests.serving.house import Gate, answering, house_in, wait_until
from tests.serving.reconciling import TASK, WORDS, Shop, shop_in

STREAMS = 20
SWITCHES = "2123132312"  # of three releases, two stay loaded: some are rollbacks, some load anew
BODY = {"model": TASK, "messages": [{"role": "user", "content": "Who?"}], "stream": True}


@dataclass
class Tally:
    """What the clients saw."""

    by_version: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    over: bool = False
    switching: bool = False
    calm_s: list[float] = field(default_factory=list)
    switch_s: list[float] = field(default_factory=list)

    def took(self, seconds: float, calm: bool) -> None:
        (self.calm_s if calm else self.switch_s).append(seconds)

    @property
    def ratio(self) -> float:
        """p99 of answers that overlap a switch, by the p99 of the others."""
        during, without = (quantiles(all_of_them, n=100)[98] for all_of_them in (self.switch_s, self.calm_s))
        return during / without


async def ask_on(session: aiohttp.ClientSession, url: str, tally: Tally) -> None:
    while not tally.over:
        began, calm = time.monotonic(), not tally.switching
        async with session.post(f"{url}/v1/chat/completions", json=BODY) as answer:
            events = [line[6:].strip() async for line in answer.content if line.startswith(b"data: ")]
        tally.took(time.monotonic() - began, calm and not tally.switching)
        if answer.status != 200 or not events or events[-1] != b"[DONE]":
            tally.wrong.append(f"{answer.status}: {events[-1:]}")
            continue
        told: list[dict[str, Any]] = [json.loads(event) for event in events[:-1]]
        versions = {one["stepladder"]["version"] for one in told if "stepladder" in one}
        text = "".join(choice["delta"].get("content", "") for one in told for choice in one["choices"])
        if text.split() != [f"v{version}" for version in versions] * WORDS:
            tally.wrong.append(f"mixed: {versions} {text}")
        tally.by_version.update(versions)


async def move_aliases(shop: Shop, tally: Tally) -> None:
    """A switch lasts until its release has answered each stream; then there is calm for as long."""
    for version in SWITCHES:
        tally.switching = True
        shop.registry.promote(version)
        await more(tally, version)
        tally.switching = False
        await more(tally, version)
        await more(tally, version)
    tally.over = True


async def more(tally: Tally, version: str) -> None:
    wanted = tally.by_version[version] + STREAMS
    async with asyncio.timeout(60):
        while tally.by_version[version] < wanted:
            await asyncio.sleep(0.02)


async def storm(gate: Gate, shop: Shop) -> Tally:
    tally = Tally()
    headers = {"Authorization": f"Bearer {gate.house.keys['chat']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        clients = [ask_on(session, gate.url, tally) for _ in range(STREAMS)]
        await asyncio.gather(move_aliases(shop, tally), *clients)
    return tally


def switched(folder: Path) -> Tally:
    with house_in(folder) as house:
        shop = shop_in(folder, "1", house.router, latency_s=0.4)
        with answering(house, reconciler=shop.reconciler) as gate:
            wait_until(lambda: shop.answers == "1")
            tally = asyncio.run(storm(gate, shop))
    assert not shop.loader.live, "with the gateway, its engines end"
    return tally


def test_no_answer_fails_and_none_is_mixed(tmp_path: Path) -> None:
    tally = switched(tmp_path)
    assert tally.wrong == []
    assert all(tally.by_version[version] >= 3 * SWITCHES.count(version) * STREAMS for version in "123")


def test_what_no_alias_names_is_unloaded_only_when_its_last_stream_ended(tmp_path: Path) -> None:
    with house_in(tmp_path) as house:
        shop = shop_in(tmp_path, "1", house.router, latency_s=1.0)
        with answering(house, reconciler=shop.reconciler) as gate:
            wait_until(lambda: shop.answers == "1")
            for version in "23":  # now 1 is neither champion nor the one before
                old = shop.answers
                with (
                    gate.http() as client,
                    client.stream("POST", "/v1/chat/completions", json=BODY) as answer,
                ):
                    lines = answer.iter_lines()
                    next(lines)
                    shop.registry.promote(version)
                    wait_until(lambda version=version: shop.answers == version)  # type: ignore[misc]
                    assert sum(line.count(f"v{old}") for line in lines) >= WORDS - 1
            wait_until(lambda: sorted(version for version, _ in shop.loader.live) == ["2", "3"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found = switched(Path(name))
        during, calm = len(found.switch_s), len(found.calm_s)
        print(f"{during} answers during switches, {calm} without: p99 ratio {found.ratio:.2f}")
