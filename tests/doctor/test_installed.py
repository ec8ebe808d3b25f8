"""Python, locked dependencies, processor."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from stepladder.doctor import installed
from stepladder.settings import Settings


def test_another_python_fails_with_the_way_to_the_right_one() -> None:
    assert installed.check_python((3, 11)).state == "ok"
    found = installed.check_python((3, 13))
    assert (found.state, found.found) == ("fail", "3.13")
    assert "python3.11" in found.remedy


def test_what_is_missing_or_of_another_version_is_named(tmp_path: Path) -> None:
    here = importlib.metadata.version("pydantic")
    lock = tmp_path / "cpu.txt"
    lock.write_text(
        f"# by uv\npydantic=={here}\n    # via x\nnot-there-at-all==1\nhttpx==0.0.1\n"
        "other==2 ; sys_platform == 'never'\n"
    )
    found = installed.check_dependencies(lock)
    assert found.state == "fail"
    assert "not-there-at-all is missing" in found.found
    assert f"httpx {importlib.metadata.version('httpx')} (==0.0.1)" in found.found
    assert "pydantic" not in found.found
    assert "other" not in found.found
    lock.write_text(f"pydantic=={here}\n")
    assert installed.check_dependencies(lock).state == "ok"
    assert installed.check_dependencies(tmp_path / "none.txt").state == "fail"


def test_an_emulated_number_format_is_warned_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "preferred_dtype", lambda: "float32")
    assert installed.check_processor(settings).state == "ok"
    told = settings.model_copy(update={"engine": settings.engine.model_copy(update={"dtype": "bfloat16"})})
    assert installed.check_processor(told).state == "warn"
    monkeypatch.setattr(installed, "preferred_dtype", lambda: "bfloat16")
    assert installed.check_processor(told).state == "ok"


def test_a_missing_openmp_is_warned_of(tmp_path: Path) -> None:
    assert installed.check_openmp(tmp_path).state == "warn"
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libiomp5.so").touch()
    assert installed.check_openmp(tmp_path).state == "ok"
