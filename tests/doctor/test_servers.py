"""Ports, MLflow, Prefect and the clock."""

from __future__ import annotations

import json
import os
import socket
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from stepladder.doctor import servers
from stepladder.settings import Settings
from stepladder.stack.running import Running
from tests.stack.saying import server_saying


def with_tracking(settings: Settings, uri: str) -> Settings:
    return settings.model_copy(update={"mlflow": settings.mlflow.model_copy(update={"tracking_uri": uri})})


@pytest.fixture
def up() -> Running:
    this = psutil.Process()
    return Running(
        pid=this.pid, created=this.create_time(), ports={"mlflow": 1, "prefect": 1}, database="sqlite"
    )


def test_a_taken_port_is_named_with_its_holder_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: Running
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        monkeypatch.setenv("STEPLADDER_PREFECT_PORT", str(held.getsockname()[1]))
        found = servers.check_ports(tmp_path, None)
        assert found.state == "fail"
        assert f"{held.getsockname()[1]} (prefect) by process {os.getpid()}" in found.found
        assert "STEPLADDER_PREFECT_PORT" in found.remedy
        assert servers.check_ports(tmp_path, up).state == "ok"


def test_mlflow_of_another_version_or_silent_fails(tmp_path: Path, settings: Settings) -> None:
    with server_saying(version("mlflow")) as url:
        assert servers.check_mlflow(tmp_path, with_tracking(settings, url), None).state == "ok"
    assert servers.check_mlflow(tmp_path, with_tracking(settings, url), None).state == "fail"
    with server_saying("1.0") as url:
        found = servers.check_mlflow(tmp_path, with_tracking(settings, url), None)
        assert (found.state, "the server is 1.0" in found.found) == ("fail", True)


def test_mlflow_in_a_file_needs_no_server_but_a_place(
    tmp_path: Path, settings: Settings, up: Running
) -> None:
    assert servers.check_mlflow(tmp_path, settings, None).state == "ok"
    assert servers.check_mlflow(tmp_path / "none", settings, None).state == "fail"
    # While the stack runs, its server is what counts.
    assert servers.check_mlflow(tmp_path, settings, up).state == "fail"


def test_prefect_without_a_server_warns_and_of_another_version_fails(
    monkeypatch: pytest.MonkeyPatch, up: Running
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert servers.check_prefect(None).state == "warn"
    assert servers.check_prefect(up).state == "fail"
    with server_saying(json.dumps(version("prefect"))) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert servers.check_prefect(None).state == "ok"
    with server_saying('"2.0"') as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert "the server is 2.0" in servers.check_prefect(None).found


def test_a_clock_that_differs_from_a_servers_fails(repo: Path) -> None:
    with server_saying("") as url:
        assert servers.check_clock(repo, [url]).state == "ok"
    with server_saying("", ahead_s=600) as url:
        found = servers.check_clock(repo, [url])
        assert (found.state, "from the clock of" in found.found) == ("fail", True)


def test_a_clock_behind_the_last_commit_warns(repo: Path) -> None:
    assert servers.check_clock(repo, []).state == "ok"
    assert servers.check_clock(repo, [], now=time.time() - 3600).state == "warn"
