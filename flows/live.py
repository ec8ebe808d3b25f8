"""Make a release the champion, wait until a gateway answers by it, and go back where none does."""

from __future__ import annotations

from collections.abc import Callable

from stepladder import promotion
from stepladder.going_live import await_live
from stepladder.releases import CHAMPION, registered_name


def promote(task: str, version: str, within_s: float, say: Callable[[str], None]) -> promotion.Move:
    """Move the alias, then wait until the release answers; otherwise move it back. MLflow must be set up.

    Args:
        task: its name.
        version: the release's, or an alias.
        within_s: longest that it may take to answer, seconds.
        say: told what was moved.

    Raises:
        StepladderError: there is no such release, or it did not come up; the alias is where it was.
    """
    before = promotion.standing(task)
    move = promotion.promote(task, version)
    say(f"version {move.after} is the champion (before: {move.before or 'none'})")
    try:
        await_live(move, before, within_s)
    except BaseException as error:
        go_back(move, str(error))
        say(f"the champion is {move.before or 'none'} again")
        raise
    return move


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
