"""Promote or roll back, then wait until a gateway answers by it: for scripts and flows.

What is waited for is the version's tag ``serving.live``: a promotion deletes it, and a gateway writes it when
the champion is what answers. So it does not matter on which machine the gateway runs, nor whether it had to
switch.
"""

from __future__ import annotations

import time

from stepladder.errors import StepladderError
from stepladder.failures import explained
from stepladder.promotion import Move, Standing, promote, rollback, standing

_EVERY_S = 1.0


def promote_and_wait(task: str, which: str | None, timeout_s: float) -> Move:
    """See ``promotion.promote``; returns when a gateway answers by the release.

    Raises:
        StepladderError: there is no such release, the gateway refuses it, or the time is over. The alias
            stays moved; what answered before goes on answering.
    """
    before = standing(task)
    move = promote(task, which)
    await_live(move, before, timeout_s)
    return move


def rollback_and_wait(task: str, timeout_s: float) -> Move:
    """See ``promotion.rollback`` and ``promote_and_wait``."""
    before = standing(task)
    move = rollback(task)
    await_live(move, before, timeout_s)
    return move


def await_live(move: Move, before: Standing, timeout_s: float) -> None:
    """Wait until a gateway answers by what a move made champion.

    Args:
        move: what was changed.
        before: the task's standing before that.
        timeout_s: seconds.

    Raises:
        StepladderError: the gateway refuses it, or the time is over.
    """
    old = before.find(move.after)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = _standing_now(move.task)
        now = found.find(move.after) if found else None
        if found and found.champion != move.after:
            raise StepladderError(
                f"version {move.after} is not the champion any more: {found.champion or 'none'} is",
                where=f"task {move.task}",
                remedy="nothing, if somebody promoted another one meanwhile; else promote it again",
            )
        if now and now.refused:
            raise StepladderError(
                f"version {move.after} was refused: {now.refused}",
                where=f"task {move.task}",
                remedy="what answered before goes on answering; "
                f"`stepladder rollback {move.task}` makes it the champion again",
            )
        if now and now.live and now.live != (old.live if old else None):
            return
        time.sleep(_EVERY_S)
    raise StepladderError(
        f"version {move.after} does not answer after {timeout_s:.0f} s",
        where=f"task {move.task}",
        remedy="`stepladder status`, where the gateway runs, tells why; `stepladder serve` starts one",
    )


def _standing_now(task: str) -> Standing | None:
    """A task's standing; None where the registry does not answer just now."""
    try:
        with explained():
            return standing(task)
    except StepladderError as error:
        if not error.may_pass:
            raise
        return None
