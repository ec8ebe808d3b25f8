"""Try a release on real requests, and end that: the gateway hears of it by tags in MLflow.

While the version under the alias ``challenger`` has a tag ``canary.share``, it answers that share of users
and conversations; with ``canary.shadow`` beside the champion, unseen. ``canary.outcome`` tells what came of
it, and ``canary.ended.ID`` that the end of this trial is all written.
"""

from __future__ import annotations

from datetime import UTC, datetime

from stepladder.errors import StepladderError
from stepladder.promotion import (
    ENDED_TAG,
    LONGEST_REASON,
    SHADOW_TAG,
    SHARE_TAG,
    Version,
    chosen,
    standing,
    tag_version,
)
from stepladder.releases import CHALLENGER, registered_name

OUTCOME_TAG = "canary.outcome"


def try_out(task: str, which: str | None, share: float, *, shadow: bool = False) -> Version:
    """Let a release answer a share of the requests as challenger; unseen, with ``shadow``.

    Args:
        which: a version number or an alias; None takes the challenger.
        share: of users or conversations, above 0 and below 1; with ``shadow`` also 1.

    Raises:
        StepladderError: there is no such release, it is the champion, or no answers would be left to compare.
    """
    import mlflow

    if share >= 1 and not shadow:
        raise StepladderError(
            "a challenger that answers all requests leaves none to compare it with",
            remedy="give a share below 1, or --shadow, which leaves the champion's answers to be seen",
        )
    now = standing(task)
    release = chosen(task, now, which or CHALLENGER)
    if now.champion is None or release.version == now.champion:
        raise StepladderError(
            "a challenger needs a champion to be compared with, and cannot be it",
            where=f"registered model {registered_name(task)}",
            remedy=f"`stepladder promote {task} VERSION` makes another release the champion",
        )
    client = mlflow.MlflowClient()
    name = registered_name(task)
    for tag in (OUTCOME_TAG, SHADOW_TAG):
        client.delete_model_version_tag(name, release.version, tag)
    if shadow:
        tag_version(task, release.version, SHADOW_TAG, "true")
    client.set_registered_model_alias(name, CHALLENGER, release.version)
    tag_version(task, release.version, SHARE_TAG, str(share))
    return release


def end_trial(task: str, version: str, outcome: str, trial_id: str = "") -> None:
    """Give a challenger no more requests, and note why.

    Args:
        trial_id: of a trial that a gateway ended; noted last, so that what a kill cut short is done again.
    """
    import mlflow

    tag_version(task, version, OUTCOME_TAG, outcome[:LONGEST_REASON])
    mlflow.MlflowClient().delete_model_version_tag(registered_name(task), version, SHARE_TAG)
    if trial_id:
        tag_version(task, version, f"{ENDED_TAG}{trial_id}", datetime.now(UTC).isoformat(timespec="seconds"))
