"""Make a release the champion, wait until a gateway answers by it, and go back where none does."""

from __future__ import annotations

from stepladder import promotion
from stepladder.errors import StepladderError
from stepladder.going_live import promote_and_wait
from stepladder.releases import CHAMPION, registered_name


def reason_against(task: str, version: str) -> str | None:
    """Why a version that a climb proposed is not to be promoted any more, or None. MLflow must be set up."""
    now = promotion.standing(task)
    found = now.find(version)
    # Champion, and not live: whoever promoted it was ended while it waited.
    if now.champion == version and found and found.live:
        return "it is the champion already"
    if found and found.refused:
        return f"it was refused: {found.refused}"
    if now.challenger and now.challenger != version:
        return f"version {now.challenger} was registered after it"
    return None


def promote(task: str, version: str, within_s: float) -> promotion.Move:
    """Move the alias, then wait until the release answers; otherwise move it back. MLflow must be set up.

    Whoever ends this in between ends the waiting: the alias stays moved. A release that is promoted again is
    waited for again, and goes back to the champion before it.

    Args:
        task: its name.
        version: the release's, or an alias.
        within_s: longest that it may take to answer, seconds.

    Raises:
        StepladderError: there is no such release, or it did not come up; the alias is where it was.
    """
    before = promotion.standing(task)
    wanted = promotion.chosen(task, before, version)
    was_ended = before.champion == wanted.version and not wanted.live
    last = before.previous if was_ended else before.champion
    try:
        move = promote_and_wait(task, wanted.version, within_s)
    except StepladderError as error:
        go_back(promotion.Move(task=task, before=last, after=wanted.version), str(error))
        raise
    return move.model_copy(update={"before": last})


def go_back(move: promotion.Move, why: str) -> None:
    """Make the champion before a promotion the champion again; none, where there was none.

    A champion that somebody has made since then stays.
    """
    import mlflow

    if move.before == move.after or promotion.standing(move.task).champion != move.after:
        return
    # Marked first: a release that did not come up is not one to roll back to.
    promotion.refuse(move.task, move.after, why)
    if move.before:
        promotion.promote(move.task, move.before)
    else:
        mlflow.MlflowClient().delete_registered_model_alias(registered_name(move.task), CHAMPION)
