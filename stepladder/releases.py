"""Releases: prompt, index version, adapter, base digest and verdict, frozen together, registered in MLflow.

A release is a folder, named by its digest:

    release.json   Release
    task/          task.yaml and prompt.md as they were
    index/         the index version (on a server: its manifest, which names it), for a rung with retrieval
    adapter/       the LoRA adapter, for a rung with one
    verdict.json   the verdict that chose it, and verdict.json.sig, its signature where one was made
    outcomes.json  what it said for each case, to compare it with later ones
    report.html
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from stepladder.errors import StepladderError
from stepladder.failures import first_line, is_full_disk, without_password
from stepladder.files import digest_file, digest_folder, digest_value, read_json, write_json, writing
from stepladder.prompting.compose import Plan
from stepladder.settings import Knowledge, Mlflow
from stepladder.tasks import Strict, explain

CHALLENGER = "challenger"
CHAMPION = "champion"
OUTCOMES = "outcomes.json"
VERDICT = "verdict.json"
DIGEST_TAG = "release.digest"
FILES_TAG = "files.digest"
# What answers are made of, and the digest of a release says too little of.
_ANSWERING = ("task", "index")
# Of a release's fields, what its digest leaves out: where things come from that others name by content.
_NAMES = {"verdict_digest", "base", "base_revision", "embedder"}


class Release(Strict):
    """What answers: everything that decides a response, by content.

    Where an index on a server lies is no part of it: each machine knows its own way there, and the address
    may hold a password. ``base_revision``: the commit of a base model of the hub.
    """

    task: str
    plan: Plan
    base: str
    base_digest: str
    base_revision: str | None = None
    embedder: str
    knowledge: Knowledge
    task_digest: str
    prompt_digest: str
    index_version: str | None
    adapter_digest: str | None
    verdict_digest: str

    @field_validator("knowledge")
    @classmethod
    def _without_place(cls, knowledge: Knowledge) -> Knowledge:
        return knowledge.model_copy(update={"store": Knowledge().store})

    def asked_at(self, store: str) -> Knowledge:
        """How its index is asked, by the ``knowledge.store`` of the machine that asks."""
        return self.knowledge.model_copy(update={"store": store})

    @property
    def digest(self) -> str:
        """Digest of what the release is made of; the verdict that chose it is not part of it."""
        return digest_value(self.model_dump(mode="json", exclude=_NAMES))


class NotAsRegisteredError(StepladderError):
    """The files of a release are not those that were registered."""


class Registered(Strict):
    """A release as it stands in the registry.

    ``files``: what ``files_digest`` gave when it was registered; empty where the registry did not say.
    """

    release: Release
    version: str
    folder: Path
    files: str = ""


def registered_name(task: str) -> str:
    """The registered model's name in MLflow."""
    return f"stepladder-{task}"


def short(digest: str) -> str:
    """A digest as the name of a folder."""
    return digest[:16]


def freeze(
    release: Release,
    out: Path,
    *,
    task: Path,
    files: Mapping[str, Path],
    index: Path | None,
    adapter: Path | None,
) -> None:
    """Copy all that a release needs into ``out``, whole or not at all; ``files`` by their name there."""
    with writing(out) as draft:
        (draft / "task").mkdir(parents=True)
        for name in ("task.yaml", "prompt.md"):
            shutil.copy2(task / name, draft / "task" / name)
        for name, source in files.items():
            shutil.copy2(source, draft / name)
        if index:
            shutil.copytree(index, draft / "index")
        if adapter:
            shutil.copytree(adapter, draft / "adapter")
        write_json(draft / "release.json", release.model_dump(mode="json"))


def is_registered(release: Release, folder: Path) -> bool:
    """Whether the registry has this release, whose files are then those that were registered, and no others.

    Some files of an index tell how long a build took, so that a release frozen anew is not quite the one that
    was registered. Such a copy in ``folder`` is removed: `fetch` gets the registered one.
    """
    import mlflow

    client, name = mlflow.MlflowClient(), registered_name(release.task)
    version = _version_with(client, name, release.digest)
    if version is None:
        return False
    files = client.get_model_version(name, version).tags.get(FILES_TAG)
    if files and folder.is_dir() and files_digest(folder) != files:
        shutil.rmtree(folder)
    return True


def register(folder: Path, release: Release, description: str, run_id: str) -> str:
    """Register a frozen release, or find it registered already, and give it alias ``challenger``.

    Args:
        folder: from `freeze`; not read where the release is registered already.
        release: what is in it.
        description: Markdown, shown on the version's page.
        run_id: the MLflow run that made it.

    Returns:
        The version in the registry.
    """
    import mlflow

    client = mlflow.MlflowClient()
    name = registered_name(release.task)
    version = _version_with(client, name, release.digest)
    if version is None:
        model = mlflow.create_external_model(
            name=name,
            source_run_id=run_id,
            model_type="stepladder-release",
            params={"rung": release.plan.rung},
        )
        client.log_model_artifacts(model.model_id, str(folder))
        tags = {DIGEST_TAG: release.digest, "rung": release.plan.rung, **_digest_tags(release)}
        tags[FILES_TAG] = files_digest(folder)
        version = str(mlflow.register_model(f"models:/{model.model_id}", name, tags=tags).version)
    if not client.get_model_version(name, version).description:  # also where a kill came before it
        client.update_model_version(name, version, description=description + _links(client, run_id))
    client.set_registered_model_alias(name, CHALLENGER, version)
    return version


def files_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a release's task and index files."""
    return digest_value({name: digest_folder(folder / name) for name in _ANSWERING})


def _digest_tags(release: Release) -> dict[str, str]:
    """What the release is made of, each by its digest, as tags of its version."""
    digests = {
        "base": release.base_digest,
        "prompt": release.prompt_digest,
        "index": release.index_version,
        "adapter": release.adapter_digest,
        "verdict": release.verdict_digest,
    }
    return {f"{part}.digest": digest for part, digest in digests.items() if digest}


def _links(client: Any, run_id: str) -> str:
    """Markdown below the verdict: where the report lies in MLflow's own pages."""
    run = f"#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}"
    return f"\n[The report]({run}/artifacts/report.html) and [the climb]({run})\n"


def _version_with(client: object, name: str, digest: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}'")  # type: ignore[attr-defined]
    return next((str(one.version) for one in found if one.tags.get(DIGEST_TAG) == digest), None)


def newest(task: str, scratch: Path) -> Registered:
    """The release that was registered last (alias ``challenger``).

    Raises:
        StepladderError: there is none, or its folder is not a release.
    """
    return fetch(task, CHALLENGER, scratch)


def fetch(task: str, which: str, scratch: Path) -> Registered:
    """A release by alias or version number, copied from MLflow's artifacts once.

    Raises:
        StepladderError: there is no such release, or its folder is not a release.
    """
    import mlflow

    name = registered_name(task)
    client = mlflow.MlflowClient()
    versions = client.search_model_versions(f"name = '{name}'")
    if not versions:
        raise StepladderError(
            f"task {task!r} has no release yet",
            where=f"registered model {name}",
            remedy="run `stepladder climb`; a release is registered when its verdict says promote"
            f" (`stepladder verdict {task}` tells what it says now)",
        )
    known = {str(one.version): one for one in versions}
    found = known.get(which)
    if found is None:
        aliased = with_alias(task, which, scratch)
        if aliased is not None:
            return aliased
        raise StepladderError(
            f"there is no release {which!r} of task {task!r}",
            where=f"registered model {name}",
            remedy=f"give an alias, or one of the versions {', '.join(sorted(known))}",
        )
    return _fetched(found, scratch)


def with_alias(task: str, alias: str, scratch: Path) -> Registered | None:
    """The release under an alias, copied from MLflow's artifacts once; None where nothing has the alias.

    Raises:
        StepladderError: its folder is not a release, or not the one that was registered.
    """
    import mlflow

    client = mlflow.MlflowClient()
    found = client.search_registered_models(f"name = '{registered_name(task)}'")
    if not found or alias not in found[0].aliases:
        return None
    return _fetched(client.get_model_version_by_alias(registered_name(task), alias), scratch)


def _fetched(found: Any, scratch: Path) -> Registered:
    digest = found.tags.get(DIGEST_TAG)
    if digest is None:
        raise StepladderError(
            "this version is no release of Stepladder: someone registered it by hand",
            where=f"{found.name}, version {found.version}",
            remedy="move the alias to a version that `stepladder climb` registered",
        )
    fetched = fetch_version(found.name, str(found.version), digest, scratch)
    return fetched.model_copy(update={"files": found.tags.get(FILES_TAG, "")})


def fetch_version(name: str, version: str, digest: str, scratch: Path) -> Registered:
    """A version of a registered model, copied from MLflow's artifacts once; a copy needs no MLflow.

    Raises:
        NotAsRegisteredError: its folder is not a release, or not the one with this digest.
    """
    folder = scratch / short(digest)
    if not folder.is_dir():
        import mlflow

        with writing(folder) as draft:
            aside = draft.parent / "fetched"
            aside.mkdir()
            fetched = mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=str(aside))
            Path(fetched).rename(draft)
    release = read_release(folder)
    if release.digest != digest:
        raise NotAsRegisteredError(
            "the release is not the one that was registered: its digest differs",
            where=str(folder),
            remedy="delete the folder, so that it is fetched again; if that does not help, register it anew",
        )
    return Registered(release=release, version=version, folder=folder)


def require_contents(registered: Registered, files: str) -> None:
    """Check that a release's prompt and adapter are those that its digests name.

    Args:
        registered: the release.
        files: what ``files_digest`` must give, as registered, so that no file of task and index was changed.

    Raises:
        NotAsRegisteredError: one was changed since.
    """
    release, folder = registered.release, registered.folder
    held: dict[str, tuple[Path, str, Callable[[Path], str]]] = {
        "prompt": (folder / "task" / "prompt.md", release.prompt_digest, digest_file),
        "task or index": (folder, files, files_digest),
    }
    if release.adapter_digest:
        held["adapter"] = (folder / "adapter", release.adapter_digest, digest_folder)
    for what, (path, digest, digest_of) in held.items():
        if not path.exists() or digest_of(path) != digest:
            raise NotAsRegisteredError(
                f"the release's {what} is not the one that was registered: its digest differs",
                where=str(path),
                remedy="delete the release's folder, so that it is fetched again; if that does not help,"
                " register it anew",
            )


def in_use(task: str) -> set[str]:
    """Digests of the task's releases that an alias names: those that may be asked next."""
    import mlflow

    client = mlflow.MlflowClient()
    name = registered_name(task)
    versions = [
        client.get_model_version(name, version)
        for model in client.search_registered_models(f"name = '{name}'")
        for version in model.aliases.values()
    ]
    # A version that someone registered by hand has no such tag.
    return {str(version.tags[DIGEST_TAG]) for version in versions if DIGEST_TAG in version.tags}


def read_release(folder: Path) -> Release:
    """Read ``release.json``.

    Raises:
        NotAsRegisteredError: it is missing or of another form.
    """
    try:
        return Release.model_validate(read_json(folder / "release.json"))
    except (StepladderError, ValidationError) as error:
        what = error.what if isinstance(error, StepladderError) else explain(error)
        raise NotAsRegisteredError(
            f"not a release: {what}", where=str(folder), remedy="run `stepladder climb` again"
        ) from error


def use_mlflow(settings: Mlflow) -> None:
    """Point MLflow at the configured tracking store and experiment, and keep it quiet.

    Raises:
        StepladderError: the store does not answer, or cannot be one.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # As it comes it tries for minutes before it says that a server is down.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    import logging

    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        mlflow.set_tracking_uri(settings.tracking_uri)
        mlflow.set_experiment(settings.experiment)
    except Exception as error:  # MLflow's, SQLAlchemy's, a driver that is not installed
        if is_full_disk(error):
            raise
        raise StepladderError(
            f"MLflow's store cannot be used: {first_line(error)}",
            where=without_password(settings.tracking_uri),
            remedy="start its server or database, or set mlflow.tracking_uri in params.yaml (or"
            " MLFLOW_TRACKING_URI) to another, such as sqlite:///mlflow.db",
            may_pass=True,
        ) from error
