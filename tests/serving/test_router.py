"""Line-ups are replaced as a whole; what a request took it keeps."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving.router import Lineup, Router, Serving
from stepladder.engine import RunningEngine
from stepladder.releases import Registered
from tests.serving.house import release_of, task_of


def serving(version: str = "1") -> Serving:
    registered = Registered(release=release_of("t"), version=version, folder=Path("r"))
    return Serving(registered, task_of("t", Path()), RunningEngine("http://e/v1", "m"))


def test_a_request_keeps_what_it_took_and_the_old_drains() -> None:
    async def story() -> None:
        old, new = serving("1"), serving("2")
        router = Router({"t": Lineup({"champion": old})})
        with router.using(old), router.using(old):
            router.put("t", Lineup({"champion": new}))
            assert router.lineups["t"].champion is new
            drained = asyncio.create_task(router.drained(old))
            await asyncio.sleep(0)
            assert not drained.done()
            assert router.in_use(old) == 2
        await asyncio.wait_for(drained, 1)
        await asyncio.wait_for(router.drained(new), 1)

    asyncio.run(story())


def test_a_serving_that_is_taken_again_while_draining_is_waited_for() -> None:
    async def story() -> None:
        one = serving()
        router = Router()
        first = router.using(one)
        first.__enter__()
        drained = asyncio.create_task(router.drained(one))
        await asyncio.sleep(0)
        first.__exit__(None, None, None)
        with router.using(one):
            await asyncio.sleep(0)
            assert not drained.done()
        await asyncio.wait_for(drained, 1)

    asyncio.run(story())


def test_the_same_release_loaded_twice_is_two_servings() -> None:
    assert serving() != serving()


def test_a_release_is_found_by_alias_or_version() -> None:
    champion, challenger = serving("1"), serving("2")
    lineup = Lineup({"champion": champion, "challenger": challenger})
    assert lineup.find("challenger") is lineup.find("2") is challenger
    assert lineup.find("3") is None


def test_a_task_that_is_removed_is_no_longer_listed() -> None:
    router = Router({"t": Lineup({})})
    router.remove("t")
    assert not router.lineups
