"""Line-ups are replaced as a whole; what a request took it keeps."""

from __future__ import annotations

from pathlib import Path

from serving.router import Lineup, Router, Serving
from stepladder.engine import RunningEngine
from stepladder.releases import Registered
from tests.serving.house import release_of, task_of


def serving(version: str = "1") -> Serving:
    registered = Registered(release=release_of("t"), version=version, folder=Path("r"))
    return Serving(registered, task_of("t", Path()), RunningEngine("http://e/v1", "m"))


def test_a_request_keeps_what_it_took_and_is_counted_until_it_ends() -> None:
    old, new = serving("1"), serving("2")
    router = Router({"t": Lineup({"champion": old})})
    with router.using(old) as held, router.using(old):
        router.put("t", Lineup({"champion": new}))
        assert held is old
        assert router.lineups["t"].champion is new
        assert (router.in_use(old), router.in_use(new)) == (2, 0)
    assert router.in_use(old) == 0


def test_the_same_release_loaded_twice_is_two_servings() -> None:
    assert serving() != serving()


def test_a_release_is_found_by_alias_or_version() -> None:
    champion, challenger = serving("1"), serving("2")
    lineup = Lineup({"champion": champion, "challenger": challenger})
    assert lineup.find("challenger") is lineup.find("2") is challenger
    assert lineup.find("3") is None
