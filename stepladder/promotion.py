"""Which release is champion: MLflow's aliases and tags, moved by a command, a person or the gateway.

Aliases of a task's registered model: ``champion`` answers, ``previous`` is what answered before it,
``challenger`` was registered last. Tags of a version: ``serving.refused`` (why the gateway does not let it
answer) and ``serving.passed`` (when its smoke cases were last found right for the first time),
``serving.live`` (when a gateway last began to answer by it as champion; gone when it is made champion anew).
What the tags ``canary.*`` say stands in ``stepladder.trial``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field

from stepladder.errors import StepladderError
from stepladder.releases import CHALLENGER, CHAMPION, DIGEST_TAG, FILES_TAG, registered_name
from stepladder.tasks import Strict

PREVIOUS = "previous"
REFUSED_TAG = "serving.refused"
PASSED_TAG = "serving.passed"
LIVE_TAG = "serving.live"
SHARE_TAG = "canary.share"
SHADOW_TAG = "canary.shadow"
ENDED_TAG = "canary.ended."
LONGEST_REASON = 1000


class Version(Strict):
    """A registered version. ``refused``: why it may not answer; ``passed``: it answered well before.

    ``share``: of the requests, that it gets as challenger; ``shadow``: it answers them unseen; ``live``:
    when a gateway last began to answer by it as champion; ``files``: see ``releases.files_digest``;
    ``ended``: ids of its trials whose end stands in the registry.
    """

    version: str
    digest: str
    rung: str
    refused: str | None = None
    passed: bool = False
    share: float = 0.0
    shadow: bool = False
    live: str | None = None
    files: str = ""
    ended: frozenset[str] = frozenset()


class Standing(Strict):
    """A task's aliases, as version numbers, and all of its versions by number.

    ``stands_in``: the champion is the challenger in its place, as ``serve --challengers`` lets it be.
    """

    champion: str | None = None
    stands_in: bool = False
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
    lacking = [tag for tag in (DIGEST_TAG, FILES_TAG) if tag not in tags]
    by_hand = f"it is not a release: it has no tag {lacking[0]}" if lacking else None
    return Version(
        version=number,
        digest=tags.get(DIGEST_TAG, ""),
        rung=tags.get("rung", "?"),
        refused=tags.get(REFUSED_TAG) or by_hand,
        passed=PASSED_TAG in tags,
        share=_share(tags.get(SHARE_TAG, "0"), shadow=SHADOW_TAG in tags),
        shadow=SHADOW_TAG in tags,
        live=tags.get(LIVE_TAG),
        files=tags.get(FILES_TAG, ""),
        ended=frozenset(tag.removeprefix(ENDED_TAG) for tag in tags if tag.startswith(ENDED_TAG)),
    )


def _share(text: str, *, shadow: bool) -> float:
    """A share as a person may have typed it; what is none counts as 0. All of it only unseen."""
    try:
        share = float(text)
    except ValueError:
        return 0.0
    return share if 0 < share < 1 or (shadow and share == 1) else 0.0


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
    release = chosen(task, now, which or CHALLENGER)
    client = mlflow.MlflowClient()
    name = registered_name(task)
    if release.digest and release.refused:
        client.delete_model_version_tag(name, release.version, REFUSED_TAG)
    _make_champion(task, now, release.version)
    return Move(task=task, before=now.champion, after=release.version)


def chosen(task: str, now: Standing, which: str) -> Version:
    """The version that a number or an alias names.

    Raises:
        StepladderError: there is none.
    """
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
    """Move ``champion``, then ``previous``.

    Killed in between, ``previous`` names what it did, and a gateway gives it to what it is answering by: the
    other way round both would name one version, and the way back would be lost. Trials of both end: what is
    rolled back would be on trial again by the share that it still has. Where a kill keeps them from that, a
    gateway ends the champion's.
    """
    import mlflow

    client, name = mlflow.MlflowClient(), registered_name(task)
    before, after = now.find(now.champion), now.find(number)
    if after and after.live:  # a gateway writes it again once this version answers as champion
        client.delete_model_version_tag(name, number, LIVE_TAG)
    client.set_registered_model_alias(name, CHAMPION, number)
    if before and before.version != number and not before.refused:
        remember(task, before.version)
    for version in {number, before.version if before else number}:
        for tag in (SHARE_TAG, SHADOW_TAG):
            client.delete_model_version_tag(name, version, tag)


def remember(task: str, version: str) -> None:
    """Note what a rollback goes to."""
    import mlflow

    mlflow.MlflowClient().set_registered_model_alias(registered_name(task), PREVIOUS, version)


def refuse(task: str, version: str, reason: str) -> None:
    """Mark a version as one that may not answer."""
    tag_version(task, version, REFUSED_TAG, reason[:LONGEST_REASON])


def note_passed(task: str, version: str) -> None:
    """Mark a version as one that answered its smoke cases well."""
    tag_version(task, version, PASSED_TAG, datetime.now(UTC).isoformat(timespec="seconds"))


def note_live(task: str, version: str) -> None:
    """Mark a version as the champion that answers from now on."""
    tag_version(task, version, LIVE_TAG, datetime.now(UTC).isoformat())


def tag_version(task: str, version: str, name: str, value: str) -> None:
    """Set a tag of a version."""
    import mlflow

    mlflow.MlflowClient().set_model_version_tag(registered_name(task), version, name, value)
