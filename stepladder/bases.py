"""Base models in MLflow: one copy of each, by its digest, for machines that serve and have no such folder.

A release names its base by digest, as most releases share one. A hub id is not copied: the hub has it.
"""

from __future__ import annotations

from pathlib import Path

from stepladder.console import say
from stepladder.errors import StepladderError
from stepladder.files import writing
from stepladder.models import local_folder, model_digest

_DIGEST_TAG = "stepladder.base"
_ARTIFACTS = "base"
_NOTE = "The base model of releases, kept for serving machines that do not have it."


def keep_base(model: str, digest: str) -> None:
    """Copy a base model's folder into MLflow's artifacts, unless it is there or the model is the hub's.

    Args:
        model: a folder or hub id.
        digest: its ``model_digest``.
    """
    import mlflow

    folder = local_folder(model)
    if folder is None or _run_with(digest):
        return
    say(f"release: copying the base model {model} into MLflow, once")
    tags = {"mlflow.note.content": _NOTE}
    with mlflow.start_run(run_name=f"base model {folder.name}", tags=tags):
        mlflow.log_artifacts(str(folder), _ARTIFACTS)
        # Last: what a kill cut short is not taken for a copy.
        mlflow.set_tag(_DIGEST_TAG, digest)


def fetch_base(digest: str, folder: Path) -> None:
    """Copy the base model with this digest from MLflow's artifacts into ``folder``, whole or not at all.

    Raises:
        StepladderError: MLflow has no copy of it, or what it has is not the one that was kept.
    """
    import mlflow

    run = _run_with(digest)
    if run is None:
        raise StepladderError(
            "MLflow has no copy of the base model",
            where=f"tag {_DIGEST_TAG} = {digest}",
            remedy="place its folder here by hand; a copy is made when a release is registered",
        )
    say("base model: copying it from MLflow, once")
    with writing(folder) as draft:
        aside = draft.parent / "fetched"
        aside.mkdir()
        fetched = mlflow.artifacts.download_artifacts(
            run_id=run, artifact_path=_ARTIFACTS, dst_path=str(aside)
        )
        if model_digest(fetched) != digest:
            raise StepladderError(
                "the copy of the base model in MLflow is not the one that was kept: its digest differs",
                where=f"run {run}",
                remedy="delete that run, and place the model's folder here by hand",
            )
        Path(fetched).rename(draft)


def _run_with(digest: str) -> str | None:
    import mlflow

    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{_DIGEST_TAG}` = '{digest}'",
        max_results=1,
        output_format="list",
    )
    return str(found[0].info.run_id) if found else None
