"""Which release is champion: MLflow's aliases and tags, moved by a command, a person or the gateway.

Aliases of a task's registered model: ``champion`` answers, ``previous`` is what answered before it,
``challenger`` was registered last. Tags of a version: ``serving.refused`` (why the gateway does not let it
answer) and ``serving.passed`` (when its smoke cases were last found right for the first time).
"""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field

from stepladder.errors import StepladderError
from stepladder.releases import CHALLENGER, CHAMPION, DIGEST_TAG, registered_name
from stepladder.tasks import Strict

PREVIOUS = "previous"
REFUSED_TAG = "serving.refused"
PASSED_TAG = "serving.passed"
_LONGEST_REASON = 1000


class Version(Strict):
    """A registered version. ``refused``: why it may not answer; ``passed``: it answered well before."""

    version: str
    digest: str
    rung: str
    refused: str | None = None
    passed: bool = False


class Standing(Strict):
    """A task's aliases, as version numbers, and all of its versions by number."""

    champion: str | None = None
    previous: str | None = None
    challenger: str | None = None
    versions: dict[str, Version] = Field(default={})

    def find(self, number: str | None) -> Version | None:
        """A version by its number."""
        return self.versions.get(number) if number else None


class Move(Strict):
    """What a promotion or rollback changed: version numbers."""

    task: str
    before: str | None
    after: str


def standing(task: str) -> Standing:
    """Read a task's aliases and versions; all empty for a task that has no release."""
    import mlflow

    client = mlflow.MlflowClient()
    name = registered_name(task)
    models = client.search_registered_models(f"name = '{name}'")
    if not models:
        return Standing()
    found = client.search_model_versions(f"name = '{name}'")
    aliases = {alias: str(version) for alias, version in models[0].aliases.items()}
    return Standing(
        champion=aliases.get(CHAMPION),
        previous=aliases.get(PREVIOUS),
        challenger=aliases.get(CHALLENGER),
        versions={str(one.version): _version(str(one.version), one.tags) for one in found},
    )


def _version(number: str, tags: dict[str, str]) -> Version:
    by_hand = None if DIGEST_TAG in tags else f"it is not a release: it has no tag {DIGEST_TAG}"
    return Version(
        version=number,
        digest=tags.get(DIGEST_TAG, ""),
        rung=tags.get("rung", "?"),
        refused=tags.get(REFUSED_TAG) or by_hand,
        passed=PASSED_TAG in tags,
    )


def promote(task: str, which: str | None = None) -> Move:
    """Make a release the champion, and remember the one before it. A refusal of old is forgotten.

    Args:
        task: its name.
        which: a version number or an alias; None takes the challenger.

    Raises:
        StepladderError: there is no such release.
    """
    import mlflow

    now = standing(task)
    chosen = _chosen(task, now, which or CHALLENGER)
    client = mlflow.MlflowClient()
    name = registered_name(task)
    if chosen.digest and chosen.refused:
        client.delete_model_version_tag(name, chosen.version, REFUSED_TAG)
    _make_champion(task, now, chosen.version)
    return Move(task=task, before=now.champion, after=chosen.version)


def _chosen(task: str, now: Standing, which: str) -> Version:
    aliases = {CHAMPION: now.champion, PREVIOUS: now.previous, CHALLENGER: now.challenger}
    found = now.find(aliases.get(which, which))
    if found is None:
        known = ", ".join(sorted(now.versions, key=int))
        raise StepladderError(
            f"there is no release {which!r} of task {task!r}",
            where=f"registered model {registered_name(task)}",
            remedy=f"give one of the versions {known}"
            if known
            else "run `stepladder climb`; a release is registered when its verdict says promote",
        )
    return found


def rollback(task: str) -> Move:
    """Make the champion before this one the champion again; done twice, it is as before.

    Raises:
        StepladderError: none is remembered.
    """
    now = standing(task)
    if now.previous is None or now.previous == now.champion:
        raise StepladderError(
            f"no champion before this one is remembered for task {task!r}",
            where=f"alias {PREVIOUS} of registered model {registered_name(task)}",
            remedy=f"`stepladder promote {task} VERSION` makes any release the champion",
        )
    _make_champion(task, now, now.previous)
    return Move(task=task, before=now.champion, after=now.previous)


def _make_champion(task: str, now: Standing, number: str) -> None:
    import mlflow

    before = now.find(now.champion)
    if before and before.version != number and not before.refused:
        remember(task, before.version)
    mlflow.MlflowClient().set_registered_model_alias(registered_name(task), CHAMPION, number)


def remember(task: str, version: str) -> None:
    """Note what a rollback goes to."""
    import mlflow

    mlflow.MlflowClient().set_registered_model_alias(registered_name(task), PREVIOUS, version)


def refuse(task: str, version: str, reason: str) -> None:
    """Mark a version as one that may not answer."""
    _tag(task, version, REFUSED_TAG, reason[:_LONGEST_REASON])


def note_passed(task: str, version: str) -> None:
    """Mark a version as one that answered its smoke cases well."""
    _tag(task, version, PASSED_TAG, datetime.now(UTC).isoformat(timespec="seconds"))


def _tag(task: str, version: str, name: str, value: str) -> None:
    import mlflow

    mlflow.MlflowClient().set_model_version_tag(registered_name(task), version, name, value)
