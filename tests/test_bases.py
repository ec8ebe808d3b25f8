"""Base models in MLflow: copied once, fetched whole, and never another than the one that was kept."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from stepladder.bases import fetch_base, keep_base
from stepladder.errors import StepladderError
from stepladder.models import model_digest


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder that passes for a model, another one in each test."""
    folder = tmp_path / "machine/base"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"name": str(tmp_path)}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def copies() -> list[Path]:
    """What MLflow has of base models: a folder a run."""
    import mlflow

    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    kept = [run.info for run in runs if run.info.run_name.startswith("base model")]
    return [Path(info.artifact_uri.removeprefix("file://")) / "base" for info in kept]


def test_a_machine_without_the_folder_gets_the_copy(mlflow_store: Path, tmp_path: Path, base: Path) -> None:
    digest = model_digest(str(base))
    keep_base(str(base), digest)
    fetch_base(digest, tmp_path / "elsewhere")
    assert model_digest(str(tmp_path / "elsewhere")) == digest


def test_one_copy_is_made_for_all_releases(mlflow_store: Path, base: Path) -> None:
    before = len(copies())
    for _ in range(2):
        keep_base(str(base), model_digest(str(base)))
    (base / "model.safetensors").write_bytes(b"others")
    keep_base(str(base), model_digest(str(base)))
    assert len(copies()) == before + 2


def test_a_model_of_the_hub_is_not_copied(mlflow_store: Path) -> None:
    before = len(copies())
    keep_base("HuggingFaceTB/SmolLM2-135M-Instruct", "c" * 64)
    assert len(copies()) == before


def test_a_copy_that_was_cut_short_is_made_again(
    mlflow_store: Path, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    digest = model_digest(str(base))
    with monkeypatch.context() as patched:
        patched.setattr(mlflow, "set_tag", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            keep_base(str(base), digest)
    with pytest.raises(StepladderError, match="no copy"):
        fetch_base(digest, tmp_path / "elsewhere")
    keep_base(str(base), digest)
    fetch_base(digest, tmp_path / "elsewhere")


def test_a_copy_that_was_changed_is_refused_and_nothing_stays(
    mlflow_store: Path, tmp_path: Path, base: Path
) -> None:
    before = set(copies())
    keep_base(str(base), model_digest(str(base)))
    (copy,) = set(copies()) - before
    (copy / "model.safetensors").write_bytes(b"poison")
    with pytest.raises(StepladderError, match="its digest differs"):
        fetch_base(model_digest(str(base)), tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
