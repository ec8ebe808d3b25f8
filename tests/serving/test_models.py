"""The models that a release names: what is here and right, else MLflow's copy; never another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from serving.models import MachineError, Models
from stepladder.errors import StepladderError
from stepladder.files import digest_folder
from stepladder.model_copies import WrongCopyError
from stepladder.models import hub_digest
from stepladder.releases import Release
from tests.test_releases import release


class Copies:
    """Stands where MLflow's copies do. ``kept``: by digest; ``fetched``: how often they were asked for."""

    def __init__(self) -> None:
        self.kept: dict[str, Path] = {}
        self.fetched = 0
        self.wrong = False

    def keep(self, folder: Path, at: Path) -> str:
        digest = digest_folder(folder)
        self.kept[digest] = Path(shutil.copytree(folder, at))
        return digest

    def fetch(self, digest: str, folder: Path) -> None:
        self.fetched += 1
        if self.wrong:
            raise WrongCopyError("MLflow's copy is not what was kept")
        if digest not in self.kept:
            raise StepladderError("MLflow has no copy of it")
        shutil.copytree(self.kept[digest], folder)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    made = Copies()
    monkeypatch.setattr("serving.models.fetch_copy", made.fetch)
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights").write_bytes(b"1")
    return folder


def of(model: Path) -> Release:
    names = {"base": str(model), "base_digest": digest_folder(model), "embedder": str(model)}
    return release("t", "p").model_copy(update=names)


def test_the_folder_here_is_taken_where_it_is_the_one(tmp_path: Path, copies: Copies, model: Path) -> None:
    models, made = Models(tmp_path / "copies"), of(model)
    assert models.base(made) == models.embedder(made, made.base_digest) == str(model)
    assert copies.fetched == 0


def test_a_folder_that_was_changed_after_it_was_looked_at_is_not_taken(
    tmp_path: Path, copies: Copies, model: Path
) -> None:
    models, made = Models(tmp_path / "copies"), of(model)
    models.base(made)
    copies.keep(model, tmp_path / "kept")
    (model / "weights").write_bytes(b"22")
    assert models.base(made) == str(tmp_path / "copies" / made.base_digest[:16])


def test_an_embedder_that_is_nowhere_is_the_machines_fault(
    tmp_path: Path, copies: Copies, model: Path
) -> None:
    made = of(model)
    shutil.rmtree(model)
    with pytest.raises(MachineError, match=r"no embedding model here.*; no copy of it can be had"):
        Models(tmp_path / "copies").embedder(made, made.base_digest)


def test_a_copy_that_was_damaged_here_is_fetched_once_more(
    tmp_path: Path, copies: Copies, model: Path
) -> None:
    models, made = Models(tmp_path / "copies"), of(model)
    copies.keep(model, tmp_path / "kept")
    shutil.rmtree(model)
    copy = Path(models.base(made))
    assert models.base(made) == str(copy)
    assert copies.fetched == 1
    (copy / "weights").write_bytes(b"rot")
    assert models.base(made) == str(copy)
    assert digest_folder(copy) == made.base_digest


def test_a_copy_that_is_wrong_in_mlflow_is_fetched_once_only(
    tmp_path: Path, copies: Copies, model: Path
) -> None:
    models, made = Models(tmp_path / "copies"), of(model)
    shutil.rmtree(model)
    copies.wrong = True
    for _ in range(3):
        with pytest.raises(MachineError, match="not what was kept"):
            models.base(made)
    assert copies.fetched == 1


@pytest.mark.parametrize("told", [True, False], ids=["told", "of a release that does not tell it"])
def test_a_model_of_the_hub_is_taken_at_the_commit_of_the_release(
    tmp_path: Path, copies: Copies, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    commit = "1" * 40
    names = {"base": "org/model", "base_digest": hub_digest("org/model", commit)}
    made = release("t", "p").model_copy(update={**names, "base_revision": commit if told else None})
    monkeypatch.setattr("serving.models.hub_commit", lambda _: ("2" if told else "1") * 40)
    monkeypatch.setattr("serving.models.hub_snapshot", lambda name, commit: tmp_path / name / commit)
    assert Models(tmp_path).base(made) == str(tmp_path / "org/model" / commit)


def test_another_commit_than_that_of_the_digest_is_not_taken(tmp_path: Path, copies: Copies) -> None:
    names = {"base": "org/model", "base_digest": hub_digest("org/model", "1" * 40)}
    made = release("t", "p").model_copy(update={**names, "base_revision": "2" * 40})
    with pytest.raises(MachineError, match="no copy of it can be had"):
        Models(tmp_path).base(made)


def test_the_base_of_an_engine_elsewhere_need_not_be_here_but_must_not_be_another(
    tmp_path: Path, copies: Copies, model: Path
) -> None:
    models, made = Models(tmp_path / "copies"), of(model)
    assert models.base_elsewhere(made) == str(model)
    (model / "weights").write_bytes(b"22")
    with pytest.raises(MachineError, match="another base model"):
        models.base_elsewhere(made)
    shutil.rmtree(model)
    assert models.base_elsewhere(made) == str(model)
    assert copies.fetched == 0
