"""Copies of models in MLflow: made once, fetched whole, and never another than the one that was kept."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from stepladder.errors import StepladderError
from stepladder.files import digest_folder
from stepladder.model_copies import WrongCopyError, fetch_copy, keep_copy


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder that passes for a model, another one in each test."""
    folder = tmp_path / "machine/base"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"name": str(tmp_path)}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def copies() -> list[Path]:
    """What MLflow has: a folder a run."""
    import mlflow

    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    kept = [run.info for run in runs if run.info.run_name.startswith("model ")]
    return [Path(info.artifact_uri.removeprefix("file://")) / "model" for info in kept]


def test_a_machine_without_the_folder_gets_the_copy(mlflow_store: Path, tmp_path: Path, base: Path) -> None:
    digest = digest_folder(base)
    keep_copy(base, digest)
    fetch_copy(digest, tmp_path / "elsewhere")
    assert digest_folder(tmp_path / "elsewhere") == digest


def test_one_copy_is_made_for_all_releases(mlflow_store: Path, base: Path) -> None:
    before = len(copies())
    for _ in range(2):
        keep_copy(base, digest_folder(base))
    (base / "model.safetensors").write_bytes(b"others")
    keep_copy(base, digest_folder(base))
    assert len(copies()) == before + 2


def test_a_copy_that_was_cut_short_is_made_again(
    mlflow_store: Path, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    digest = digest_folder(base)
    with monkeypatch.context() as patched:
        patched.setattr(mlflow, "set_tag", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            keep_copy(base, digest)
    with pytest.raises(StepladderError, match="no copy"):
        fetch_copy(digest, tmp_path / "elsewhere")
    keep_copy(base, digest)
    fetch_copy(digest, tmp_path / "elsewhere")


def test_a_copy_that_was_changed_is_refused_and_nothing_stays(
    mlflow_store: Path, tmp_path: Path, base: Path
) -> None:
    before = set(copies())
    keep_copy(base, digest_folder(base))
    (copy,) = set(copies()) - before
    (copy / "model.safetensors").write_bytes(b"poison")
    with pytest.raises(WrongCopyError):
        fetch_copy(digest_folder(base), tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
