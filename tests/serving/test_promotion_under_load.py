"""Twenty streams at once, ten promotions and rollbacks: no answer fails, none is of two releases."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.serving.house import Gate, answering, house_in, wait_until
from tests.serving.reconciling import TASK, WORDS, Shop, shop_in

STREAMS = 20
SWITCHES = 10
BODY = {"model": TASK, "messages": [{"role": "user", "content": "Who?"}], "stream": True}


@dataclass
class Tally:
    """What the clients saw."""

    by_version: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    over: bool = False


async def ask_on(session: aiohttp.ClientSession, url: str, tally: Tally) -> None:
    while not tally.over:
        async with session.post(f"{url}/v1/chat/completions", json=BODY) as answer:
            events = [line[6:].strip() async for line in answer.content if line.startswith(b"data: ")]
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
    """Each switch waits until its release has answered as many times as there are streams."""
    for number in range(SWITCHES):
        version = "21"[number % 2]
        seen = tally.by_version[version]
        shop.registry.promote(version)
        async with asyncio.timeout(60):
            while tally.by_version[version] < seen + STREAMS:
                await asyncio.sleep(0.02)
    tally.over = True


async def storm(gate: Gate, shop: Shop) -> Tally:
    tally = Tally()
    headers = {"Authorization": f"Bearer {gate.house.keys['chat']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        clients = [ask_on(session, gate.url, tally) for _ in range(STREAMS)]
        await asyncio.gather(move_aliases(shop, tally), *clients)
    return tally


def test_no_answer_fails_and_none_is_mixed(tmp_path: Path) -> None:
    with house_in(tmp_path) as house:
        shop = shop_in(tmp_path, "1", house.router, latency_s=0.2)
        with answering(house, reconciler=shop.reconciler) as gate:
            wait_until(lambda: shop.answers == "1")
            tally = asyncio.run(storm(gate, shop))
    assert tally.wrong == []
    assert min(tally.by_version["1"], tally.by_version["2"]) >= SWITCHES // 2 * STREAMS
    assert not shop.loader.live, "with the gateway, its engines end"


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
