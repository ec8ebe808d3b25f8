"""Twenty streams at once, ten promotions and rollbacks: no answer fails, none is of two releases.

``bench/switching.py`` tells what it costs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.serving.house import answering, house_in, wait_until
from tests.serving.reconciling import WORDS, said_by, shop_in
from tests.serving.storm import BODY, Storm

STREAMS = 20
SWITCHES = "2123132312"  # of three releases, two stay loaded: some are rollbacks, some load anew


@pytest.mark.slow
def test_no_answer_fails_and_none_is_mixed(tmp_path: Path) -> None:
    with house_in(tmp_path) as house:
        shop = shop_in(tmp_path, "1", house.router, latency_s=0.4)
        with answering(house, reconciler=shop.reconciler) as gate:
            wait_until(lambda: shop.answers == "1")
            tally = asyncio.run(Storm(STREAMS, SWITCHES, said_by, shop.registry.promote).blow(gate))
    assert not shop.loader.live, "with the gateway, its engines end"
    assert (tally.failed, tally.mixed) == ([], [])
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
