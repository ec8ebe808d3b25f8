"""One step of the reconciler: what follows from what is wanted and what is there."""

from __future__ import annotations

import pytest

from serving.plan import (
    Action,
    Actual,
    EndTrial,
    Held,
    Load,
    Remember,
    Stop,
    Switch,
    Unload,
    explain,
    explain_trial,
    plan,
)
from stepladder.promotion import Standing, Version


def version(number: str, refused: str | None = None) -> Version:
    return Version(version=number, digest=f"d{number}", rung="prompt", refused=refused)


def wanted(champion: str | None, previous: str | None = None, refused: str = "") -> Standing:
    versions = {number: version(number, "bad" if number in refused else None) for number in "123"}
    return Standing(champion=champion, previous=previous, versions=versions)


def trying(share: float) -> Standing:
    """1 is champion, 3 its challenger."""
    standing = wanted("1")
    versions = {**standing.versions, "3": version("3").model_copy(update={"share": share})}
    return standing.model_copy(update={"challenger": "3", "versions": versions})


ONE, TWO = Held(1, "1", frees_gib=3), Held(2, "2", frees_gib=3)


@pytest.mark.parametrize(
    ("what", "standing", "actual", "steps"),
    [
        ("what is missing is loaded", wanted("1"), Actual(), [Load(version("1"))]),
        ("once", wanted("1"), Actual(loading=frozenset("1")), []),
        ("what is loaded answers", wanted("1"), Actual(held=(ONE,)), [Switch(1)]),
        ("nothing is done when all is well", wanted("1"), Actual(1, (ONE,)), []),
        (
            "the old champion gets its name before the new one is loaded",
            wanted("2"),
            Actual(1, (ONE,)),
            [Remember("1"), Load(version("2"))],
        ),
        ("the old one stays for a rollback", wanted("2", "1"), Actual(2, (ONE, TWO)), []),
        (
            "a challenger with a share is loaded",
            trying(0.1),
            Actual(1, (ONE,)),
            [Load(trying(0.1).versions["3"])],
        ),
        ("after the champion", trying(0.1), Actual(), [Load(version("1"))]),
        ("and not without memory", trying(0.1), Actual(1, (ONE,), cramped={"3": 1.0}), []),
        (
            "nor while the champion of another task lacks it",
            trying(0.1),
            Actual(1, (ONE, Held(3, "3")), short=True),
            [Unload(3)],
        ),
        ("it stays", trying(0.1), Actual(1, (ONE, Held(3, "3"))), []),
        ("until its trial is over", trying(0), Actual(1, (ONE, Held(3, "3"))), [Unload(3)]),
        (
            "which it is when a person makes it champion",
            trying(0.1).model_copy(update={"champion": "3", "previous": "1"}),
            Actual(3, (ONE, Held(3, "3"))),
            [EndTrial("3", "promoted by hand")],
        ),
        (
            "and not where it stands in for one",
            trying(0.1).model_copy(update={"champion": "3", "stands_in": True}),
            Actual(3, (Held(3, "3"),)),
            [],
        ),
        (
            "and gives way to a champion that needs the memory",
            trying(0.1),
            Actual(3, (Held(3, "2"), Held(4, "3")), cramped={"1": 1.0}),
            [Remember("2"), Unload(4)],
        ),
        ("a rollback only switches", wanted("1", "2"), Actual(2, (ONE, TWO)), [Switch(1)]),
        ("what has no name goes", wanted("2"), Actual(2, (ONE, TWO)), [Unload(1)]),
        ("but not under a request", wanted("2"), Actual(2, (Held(1, "1", users=1), TWO)), []),
        (
            "the champion before is loaded, as after a restart",
            wanted("2", "1"),
            Actual(2, (TWO,)),
            [Load(version("1"))],
        ),
        ("after the champion", wanted("2", "1"), Actual(), [Load(version("2"))]),
        ("and the champions of other tasks", wanted("2", "1"), Actual(2, (TWO,), pending=True), []),
        ("where there is memory", wanted("2", "1"), Actual(2, (TWO,), cramped={"1": 1.0}), []),
        ("that no champion lacks", wanted("2", "1"), Actual(2, (TWO,), short=True), []),
        ("not where it was refused", wanted("2", "1", "1"), Actual(2, (TWO,)), []),
        (
            "it gives way to the champion of another task",
            wanted("2", "1"),
            Actual(2, (ONE, TWO), short=True),
            [Unload(1)],
        ),
        (
            "a champion without its engine is loaded again",
            wanted("1"),
            Actual(1, (Held(1, "1", alive=False),)),
            [Load(version("1"))],
        ),
        (
            "and replaced",
            wanted("1"),
            Actual(1, (Held(1, "1", alive=False), Held(2, "1"))),
            [Switch(2)],
        ),
        ("a refused champion is not loaded; the old one stays", wanted("2", "1", "2"), Actual(1, (ONE,)), []),
        ("nor after a restart", wanted("2", "1", "2"), Actual(), [Load(version("1"))]),
        ("with none to fall back on nothing answers", wanted("2", None, "2"), Actual(), []),
        (
            "a champion that was refused while it answered is stopped",
            wanted("2", None, "2"),
            Actual(2, (TWO,)),
            [Stop("version 2 was refused, and none before it can answer")],
        ),
        (
            "a task without a champion is not served",
            wanted(None),
            Actual(1, (ONE,)),
            [Stop("no release of this task is promoted yet")],
        ),
        ("a failed load rests", wanted("1"), Actual(resting={"1": "full"}), []),
        (
            "for want of memory the standby goes first",
            wanted("3", "2"),
            Actual(2, (ONE, TWO), cramped={"3": 2}),
            [Unload(1)],
        ),
        (
            "then the champion is drained",
            wanted("3", "2"),
            Actual(2, (TWO,), cramped={"3": 2}),
            [Stop("version 3 is being loaded; there is memory for one engine only")],
        ),
        ("unless that is of no use", wanted("3", "2"), Actual(2, (TWO,), cramped={"3": 9}), []),
        (
            "nor before it has a name to come back by",
            wanted("3", "1"),
            Actual(2, (TWO,), cramped={"3": 2}),
            [Remember("2")],
        ),
    ],
)
def test_the_next_step(what: str, standing: Standing, actual: Actual, steps: list[Action]) -> None:
    assert plan(standing, actual) == steps, what


@pytest.mark.parametrize(
    ("standing", "actual", "told"),
    [
        (wanted("1"), Actual(1, (ONE,)), "as wanted"),
        (wanted(None), Actual(), "no release of this task is promoted yet"),
        (wanted("2", "1", "2"), Actual(1, (ONE,)), "version 2 was refused: bad; version 1 answers"),
        (wanted("2"), Actual(1, (ONE,), frozenset("2")), "version 2 is being loaded"),
        (wanted("2"), Actual(resting={"2": "no disk"}), "version 2 is tried again soon: no disk"),
        (wanted("2"), Actual(cramped={"2": 1.25}), "1.2 GiB of memory are missing for version 2"),
        (
            wanted("1"),
            Actual(1, (Held(1, "1", alive=False),)),
            "the engine of version 1 died; version 1 comes next",
        ),
    ],
)
def test_why_it_differs(standing: Standing, actual: Actual, told: str) -> None:
    assert explain(standing, actual) == told


@pytest.mark.parametrize(
    ("standing", "actual", "told"),
    [
        (wanted("1"), Actual(1, (ONE,)), None),
        (trying(0.0), Actual(1, (ONE, Held(3, "3"))), None),
        (trying(0.1), Actual(1, (ONE, Held(3, "3"))), "as wanted"),
        (trying(0.1), Actual(), "version 3 waits for the champion to answer"),
        (trying(0.1), Actual(1, (ONE,), frozenset("3")), "version 3 is being loaded"),
        (trying(0.1), Actual(1, (ONE,), resting={"3": "no disk"}), "version 3 is tried again soon: no disk"),
        (trying(0.1), Actual(1, (ONE,), cramped={"3": 1.25}), "1.2 GiB of memory are missing for version 3"),
        (
            trying(0.1),
            Actual(1, (ONE, Held(3, "3")), short=True),
            "version 3 gives way to a champion that lacks memory",
        ),
    ],
)
def test_why_a_challenger_is_not_tried(standing: Standing, actual: Actual, told: str | None) -> None:
    assert explain_trial(standing, actual) == told


def test_a_challenger_that_was_refused_says_why() -> None:
    versions = {**trying(0.1).versions, "3": version("3", "bad").model_copy(update={"share": 0.1})}
    standing = trying(0.1).model_copy(update={"versions": versions})
    assert explain_trial(standing, Actual(1, (ONE,))) == "version 3 was refused: bad"
