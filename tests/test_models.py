"""Where a model lies, and what a base model is known by."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from stepladder.errors import StepladderError
from stepladder.knowledge.locate import model_folder
from stepladder.models import hub_commit, hub_snapshot, local_folder, model_digest, require_base


@pytest.mark.parametrize("name", ["gpt2", "org/name", "org/.name", "org/name~1"])
def test_a_name_or_an_owner_and_a_name_is_a_hub_id(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder(name) is None
    assert require_base(name) == name
    (tmp_path / name).mkdir(parents=True)
    assert local_folder(name) == Path(name), "unless it lies here"


@pytest.mark.parametrize("name", ["./m", "../m", ".m/n", "/m", "~/m", "models/m", "a/b/m"])
def test_a_path_is_a_folder_for_the_base_and_for_the_embedder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(StepladderError, match="no base model here"):
        require_base(name)
    with pytest.raises(StepladderError, match="no embedding model here"):
        model_folder(name)


def test_a_model_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    assert require_base("~/m") == str(model_folder("~/m")) == str(tmp_path / "m")
    assert model_digest("~/m") == model_digest(str(tmp_path / "m"))


def test_the_digest_of_a_hub_model_is_that_of_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for commit in ("1" * 40, "2" * 40, "1" * 40):
        path = f"/cache/models--org--model/snapshots/{commit}/config.json"
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _model, _file, path=path: path)
        hub_commit.cache_clear()
        digests.append(model_digest("org/model"))
    hub_commit.cache_clear()
    assert digests[0] == digests[2] != digests[1]


def test_a_hub_that_does_not_answer_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_model: str, _file: str) -> str:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(StepladderError, match="cannot ask the hub for the base model: ConnectionError"):
        model_digest("org/model")


def test_a_hub_model_is_had_at_its_commit_though_the_hub_has_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's cache, without a network."""
    commit = "1" * 40
    snapshot = tmp_path / "models--org--model/snapshots" / commit
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub_snapshot("org/model", commit) == snapshot
    with pytest.raises(StepladderError, match="cannot get the base model from the hub"):
        hub_snapshot("org/model", "2" * 40)
