"""A small project that is well."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stepladder.settings import Settings, load_settings
from tests.end_to_end.project import ROOT


@pytest.fixture
def settings() -> Settings:
    return load_settings(ROOT / "params.yaml")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, which knows nothing of this machine's settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "nowhere"))
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "file").write_text("1")
    for command in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "A"],
        ["config", "user.email", "a@example.org"],
        ["add", "."],
        ["commit", "-qm", "Begin"],
    ):
        git(folder, *command)
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
