"""Copies of models in MLflow, one of each by its digest, for machines that serve and have no such folder.

Releases name their base model and embedder by digest, for many releases share one.
"""

from __future__ import annotations

from pathlib import Path

from stepladder.console import say
from stepladder.errors import StepladderError
from stepladder.files import digest_folder, writing

# Apart from the climbs, whose experiment holds runs that are compared.
EXPERIMENT = "stepladder-models"
_DIGEST_TAG = "stepladder.model"
_ARTIFACTS = "model"
_NOTE = "A model that releases name, kept for serving machines that do not have it."


class WrongCopyError(StepladderError):
    """MLflow's copy of a model is not the one that was kept."""


def keep_copy(folder: Path, digest: str) -> None:
    """Copy a model's folder into MLflow's artifacts, unless a copy is there.

    Args:
        folder: of the model.
        digest: its ``digest_folder``.
    """
    import mlflow

    if _run_with(digest):
        return
    say(f"release: copying the model {folder.name} into MLflow, once")
    experiment, tags = _experiment(), {"mlflow.note.content": _NOTE}
    with mlflow.start_run(experiment_id=experiment, run_name=f"model {folder.name}", tags=tags, nested=True):
        mlflow.log_artifacts(str(folder), _ARTIFACTS)
        # Last: what a kill cut short is not taken for a copy.
        mlflow.set_tag(_DIGEST_TAG, digest)


def fetch_copy(digest: str, folder: Path) -> None:
    """Copy the model with this digest from MLflow's artifacts into ``folder``, whole or not at all.

    Raises:
        WrongCopyError: what MLflow has is not what was kept.
        StepladderError: MLflow has no copy of it.
    """
    import mlflow

    run = _run_with(digest)
    if run is None:
        raise StepladderError(
            "MLflow has no copy of it",
            where=f"tag {_DIGEST_TAG} = {digest}",
            remedy="place its folder here by hand; a copy is made when a release is registered",
        )
    say(f"model: copying {digest[:16]} from MLflow, once")
    with writing(folder) as draft:
        aside = draft.parent / "fetched"
        aside.mkdir()
        fetched = Path(
            mlflow.artifacts.download_artifacts(run_id=run, artifact_path=_ARTIFACTS, dst_path=str(aside))
        )
        if digest_folder(fetched) != digest:
            raise WrongCopyError(
                "MLflow's copy is not what was kept: its digest differs",
                where=f"run {run}",
                remedy="delete that run, and place the model's folder here by hand",
            )
        fetched.rename(draft)


def _experiment() -> str:
    import mlflow

    known = mlflow.get_experiment_by_name(EXPERIMENT)
    return str(known.experiment_id if known else mlflow.create_experiment(EXPERIMENT))


def _run_with(digest: str) -> str | None:
    import mlflow

    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{_DIGEST_TAG}` = '{digest}'",
        max_results=1,
        output_format="list",
    )
    return str(found[0].info.run_id) if found else None
