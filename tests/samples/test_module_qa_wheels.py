"""The wheels are downloaded once, and a failure says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.samples.module_qa.wheels import fetch_wheels


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "samples.txt"
    path.write_text("# docs\nacme-core==2.1\nacme==3.0  # large\n")
    return path


def test_wheels_that_are_there_are_not_asked_for_again(
    requirements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: pytest.fail("pip was called"))
    for name in ("acme-3.0-py3-none-any.whl", "acme_core-2.1-py3-none-any.whl"):
        (tmp_path / name).touch()
    found = fetch_wheels(requirements, tmp_path)
    assert {name: path.name for name, path in found.items()} == {
        "acme": "acme-3.0-py3-none-any.whl",
        "acme-core": "acme_core-2.1-py3-none-any.whl",
    }


def test_a_failed_download_names_the_reason_and_the_remedy(
    requirements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert {"download", "--no-deps", "--only-binary=:all:"} <= set(command)
        return subprocess.CompletedProcess(command, 1, "", "ERROR: x\nERROR: no route to the index\n")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(StepladderError, match="no route to the index") as caught:
        fetch_wheels(requirements, tmp_path / "wheels")
    assert "downloading the wheels of acme 3.0, acme-core 2.1" in capsys.readouterr().err
    assert "run the same command again" in caught.value.remedy


def test_an_unpinned_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.txt"
    path.write_text("acme>=3\n")
    with pytest.raises(StepladderError, match="acme>=3"):
        fetch_wheels(path, tmp_path)


def test_a_missing_list_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="project's root"):
        fetch_wheels(tmp_path / "none.txt", tmp_path)
