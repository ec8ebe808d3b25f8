"""What is kept up, and what is given up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from stepladder.stack import keep
from stepladder.stack.keep import Keeper
from stepladder.stack.services import Service
from tests.serving.house import wait_until
from tests.stack.project import make_project

SERVICE = Service("thing", "Thing", port="gateway", health="/")


def says_it_started(file: Path, then: str) -> list[str]:
    code = f"import os, signal, time; open({str(file)!r}, 'a').write(f'{{os.getpid()}}\\n'); {then}"
    return [sys.executable, "-c", code]


def starts(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keep, "_LEAST_PAUSE_S", 0.01)
    monkeypatch.setattr(keep, "_LOOK_EVERY_S", 0.01)
    return tmp_path / "starts"


def test_one_that_never_was_up_is_given_up(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "is_up", lambda *_: False)
    assert Keeper(SERVICE, says_it_started(file, "raise SystemExit(3)"), {}).keep() == 3
    # Also one that ends as if all were well.
    assert Keeper(SERVICE, says_it_started(file, "pass"), {}).keep() == 1
    assert len(starts(file)) == 2


@pytest.mark.parametrize(("then", "up"), [("os.kill(os.getpid(), signal.SIGKILL)", False), ("pass", True)])
def test_one_that_was_killed_or_was_up_is_started_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, then: str, up: bool
) -> None:
    monkeypatch.setattr(keep, "is_up", lambda *_: up)
    keeper = Keeper(SERVICE, says_it_started(file, then), {})
    thread = threading.Thread(target=keeper.keep)
    thread.start()
    wait_until(lambda: len(starts(file)) >= 3)
    keeper.end()
    thread.join(10)
    assert not thread.is_alive()


def test_one_that_was_up_once_is_not_given_up_when_a_start_fails(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(SERVICE, [], {})
    up = [True, False, False]

    def run(_: Keeper) -> tuple[int, bool]:
        if len(up) == 1:
            keeper.end()
        return 1, up.pop(0)

    monkeypatch.setattr(Keeper, "_run", run)
    assert keeper.keep() == 0
    assert up == []


def test_the_end_reaches_what_the_service_started(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "is_up", lambda *_: True)
    child = says_it_started(file, "time.sleep(60)")
    keeper = Keeper(SERVICE, says_it_started(file, f"import subprocess; subprocess.run({child!r})"), {})
    thread = threading.Thread(target=keeper.keep)
    thread.start()
    wait_until(lambda: len(starts(file)) == 2)
    keeper.end()
    thread.join(10)
    wait_until(lambda: not any(_runs(pid) for pid in starts(file)))


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_it_waits_for_what_it_needs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(service: Service, *_: object, **__: object) -> bool:
        asked.append(service.name)
        return service.name == "prefect" and len(asked) > 3

    monkeypatch.setattr(keep, "is_up", answer)
    worker = Service("worker", "Worker", pool="cpu", after=("prefect",))
    assert Keeper(worker, says_it_started(file, "raise SystemExit(2)"), {}).keep() == 2
    assert asked[:4] == ["prefect"] * 4
    assert len(starts(file)) == 1


def test_the_command_records_the_first_that_gave_up(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    command = [
        sys.executable,
        "-m",
        "stepladder.stack.keep",
        "mlflow",
        sys.executable,
        "-c",
        "raise SystemExit(7)",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=project.environment, check=False)
    assert done.returncode == 7
    failed = tmp_path / ".stepladder/stack/failed.json"
    assert json.loads(failed.read_text()) == {"service": "mlflow", "code": 7}


def test_sigterm_ends_it_with_0(tmp_path: Path, file: Path) -> None:
    project = make_project(tmp_path)
    kept = subprocess.Popen(
        [sys.executable, "-m", "stepladder.stack.keep", "mlflow", *says_it_started(file, "time.sleep(60)")],
        cwd=tmp_path,
        env=project.environment,
    )
    wait_until(lambda: bool(starts(file)))
    os.kill(kept.pid, signal.SIGTERM)
    assert kept.wait(10) == 0
    assert not _runs(starts(file)[0])
