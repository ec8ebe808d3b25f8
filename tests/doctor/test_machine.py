"""Disk, memory, what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stepladder.doctor import machine
from stepladder.settings import Settings
from stepladder.stack.place import Place
from stepladder.stack.processes import MARK, end, marked
from stepladder.stack.running import Running


@pytest.mark.parametrize(("free", "state"), [(1.0, "fail"), (5.0, "warn"), (50.0, "ok")])
def test_a_disk_that_is_filling(tmp_path: Path, free: float, state: str) -> None:
    found = machine.check_disk(tmp_path, free)
    assert found.state == state
    assert bool(found.remedy) == (state != "ok")


def test_memory_is_held_against_the_engine_of_this_base(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    os.truncate(tmp_path / "model.safetensors", 2**30)  # bfloat16 on the disk, float32 in memory
    large = settings.model_copy(update={"models": settings.models.model_copy(update={"base": str(tmp_path)})})
    needed = machine.engine_gib(large)
    assert needed == pytest.approx(3 + settings.engine.kv_cache_gib + 2)
    for free, state in ((needed - 0.1, "fail"), (needed * 1.5, "warn"), (needed * 2 + 0.1, "ok")):
        assert machine.check_memory(large, free).state == state


def test_processes_of_a_stack_without_a_supervisor_are_told(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert machine.check_processes(place, None).state == "ok"
    left = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"],
        env={**os.environ, MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    try:
        assert left.stdout is not None
        left.stdout.readline()
        found = machine.check_processes(place, None)
        assert (found.state, found.remedy) == ("warn", "stepladder down")
        assert str(left.pid) in found.found
    finally:
        end(marked(tmp_path), 5)
        left.wait()
        left.stdout.close()
    gone = Running(pid=left.pid, created=0.0, ports={}, database="sqlite")
    assert machine.check_processes(place, gone).state == "ok"


def test_locks_whose_holders_are_gone_are_told(tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    assert machine.check_locks(tmp_path).state == "ok"
    held = {
        "a": {"write": {"pid": 2**22 + 1, "cmd": "repro"}},
        "b": {"read": [{"pid": os.getpid(), "cmd": "x"}]},
    }
    (tmp_path / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    found = machine.check_locks(tmp_path)
    assert found.state == "warn"
    assert f"a by process {2**22 + 1}" in found.found
    assert "b by" not in found.found
    (tmp_path / ".dvc/tmp/rwlock").unlink()
    (tmp_path / ".git/index.lock").touch()
    assert ".git/index.lock" in machine.check_locks(tmp_path).found
