"""Make a release the champion, wait until it answers, and go back where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from stepladder import promotion
from stepladder.errors import StepladderError
from stepladder.releases import CHAMPION, registered_name
from stepladder.serving_record import ServingRecord

_LOOK_EVERY_S = 1.0


class Standing(NamedTuple):
    """Where a release stands on its way to answer, and why."""

    state: Literal["live", "refused", "waiting"]
    why: str


def standing_of(record: ServingRecord | None, task: str, version: str) -> Standing:
    """What the gateway tells of a release."""
    if record is None or not record.is_fresh:
        return Standing("waiting", "no gateway runs here (`stepladder serve` starts one)")
    there = record.tasks.get(task)
    if there is None:
        return Standing("waiting", "the gateway has not looked at the task yet")
    if there.answering and there.answering.version == version and there.answering.alive:
        return Standing("live", "it answers")
    known = there.wanted.find(version)
    if there.wanted.champion == version and known and known.refused:
        return Standing("refused", known.refused)
    return Standing("waiting", there.why)


def promote(
    task: str,
    version: str,
    read: Callable[[], ServingRecord | None],
    within_s: float,
    say: Callable[[str], None],
) -> promotion.Move:
    """Move the alias, then wait until the release answers; otherwise move it back. MLflow must be set up.

    Args:
        task: its name.
        version: the release's, or an alias.
        read: the gateway's record as it is now.
        within_s: longest that it may take to answer.
        say: told what is waited for, whenever that changes.

    Raises:
        StepladderError: there is no such release, or it did not come up; the alias is where it was.
    """
    move = promotion.promote(task, version)
    say(f"version {move.after} is the champion (before: {move.before or 'none'})")
    try:
        _await_live(task, move.after, read, within_s, say)
    except BaseException as error:
        go_back(move, str(error))
        say(f"the champion is {move.before or 'none'} again")
        raise
    return move


def _await_live(
    task: str,
    version: str,
    read: Callable[[], ServingRecord | None],
    within_s: float,
    say: Callable[[str], None],
) -> None:
    deadline = time.monotonic() + within_s
    told = ""
    while True:
        found = standing_of(read(), task, version)
        if found.why != told:
            say(f"{found.state}: {found.why}")
            told = found.why
        if found.state == "live":
            return
        if found.state == "refused" or time.monotonic() > deadline:
            late = "" if found.state == "refused" else f" within {within_s:.0f} s"
            raise StepladderError(
                f"version {version} did not come up{late}: {found.why}",
                where=task,
                remedy=f"read the gateway's log; `stepladder promote {task} {version}` tries again",
            )
        time.sleep(_LOOK_EVERY_S)


def go_back(move: promotion.Move, why: str) -> None:
    """Make the champion before a promotion the champion again; none, where there was none."""
    import mlflow

    if move.before == move.after:
        return
    # Marked first: a release that did not come up is not one to roll back to.
    promotion.refuse(move.task, move.after, why)
    if move.before:
        promotion.promote(move.task, move.before)
    else:
        mlflow.MlflowClient().delete_registered_model_alias(registered_name(move.task), CHAMPION)
