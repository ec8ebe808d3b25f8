"""Models, tasks, git and the DVC remote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from stepladder.doctor import project
from stepladder.settings import Settings
from tests.doctor.conftest import git


def with_models(settings: Settings, **changes: str) -> Settings:
    return settings.model_copy(update={"models": settings.models.model_copy(update=changes)})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": np.zeros((100, 10), np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_base_that_is_missing_cut_short_or_without_tokenizer_fails(model: Path, settings: Settings) -> None:
    mine = with_models(settings, base=str(model))
    assert project.check_base(mine).state == "ok"
    assert project.check_base(with_models(settings, base="org/name")).state == "ok"
    assert "no base model" in project.check_base(with_models(settings, base=str(model / "none/"))).found

    (model / "tokenizer.json").unlink()
    assert project.check_base(mine).state == "fail"
    (model / "tokenizer.json").write_text("{}")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    found = project.check_base(mine)
    assert found.state == "fail"
    assert "header promises" in found.found
    weights.write_bytes(b"\xff" * 8)
    assert "cut short" in project.check_base(mine).found


def test_a_base_of_several_files_needs_all_of_them(model: Path, settings: Settings) -> None:
    (model / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model.safetensors", "b": "second.safetensors"}}'
    )
    found = project.check_base(with_models(settings, base=str(model)))
    assert found.state == "fail"
    assert "second.safetensors" in found.found


def test_an_unknown_embedder_fails(settings: Settings) -> None:
    assert project.check_embedder(settings).state == "ok"
    assert project.check_embedder(with_models(settings, embedder="org/name")).state == "ok"
    assert project.check_embedder(with_models(settings, embedder="packaged:none")).state == "fail"
    assert project.check_embedder(with_models(settings, embedder="./none")).state == "fail"


def test_a_task_that_does_not_load_is_named(tmp_path: Path, settings: Settings) -> None:
    found = project.check_tasks(tmp_path, settings.model_copy(update={"tasks": ["mine"]}))
    assert found.state == "fail"
    assert "mine" in found.found
    assert found.remedy


def test_git_that_is_well(repo: Path) -> None:
    assert project.check_git(repo).found == "on main, all committed"


def test_git_with_changes_without_branch_or_name(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / "file").write_text("2")
    assert "1 files not committed" in project.check_git(repo).found
    git(repo, "checkout", "-q", "--detach", "-f")
    assert "on no branch" in project.check_git(repo).found
    git(repo, "config", "user.useConfigOnly", "true")
    git(repo, "config", "--unset", "user.email")
    found = project.check_git(repo)
    assert (found.state, found.remedy) == ("fail", "git config user.name and user.email")


def test_git_in_the_middle_of_a_merge(repo: Path) -> None:
    git(repo, "switch", "-qc", "other")
    (repo / "file").write_text("theirs")
    git(repo, "commit", "-qam", "Theirs")
    git(repo, "switch", "-q", "main")
    (repo / "file").write_text("ours")
    git(repo, "commit", "-qam", "Ours")
    subprocess.run(["git", "merge", "other"], cwd=repo, check=False, capture_output=True)
    assert "MERGE_HEAD" in project.check_git(repo).found


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert project.check_git(tmp_path).remedy == "git init"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert project.check_git(tmp_path).found == "not installed"


def test_a_remote_that_is_not_set_not_there_or_silent(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.check_remote(repo).remedy == "dvc init"
    (repo / ".dvc").mkdir()
    config = repo / ".dvc/config"
    config.write_text("[core]\n    analytics = false\n")
    assert project.check_remote(repo).state == "warn"
    store = tmp_path / "store"
    config.write_text(f"[core]\n    remote = here\n['remote \"here\"']\n    url = {store}\n")
    found = project.check_remote(repo)
    assert (found.state, str(store) in found.found) == ("fail", True)
    (store / "files/md5").mkdir(parents=True)
    assert project.check_remote(repo).state == "ok"
    monkeypatch.setattr(project, "_REMOTE_WAIT_S", 0.0)
    assert "no answer within" in project.check_remote(repo).found
