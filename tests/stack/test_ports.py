"""Ports from the environment, and who holds one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.stack.ports import is_free, of_use, read_ports, require_free
from tests.stack.project import SERVERS, free_ports


def test_ports_are_as_usual_unless_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SERVERS:
        monkeypatch.delenv(f"STEPLADDER_{name.upper()}_PORT", raising=False)
    assert read_ports(tmp_path) == {"mlflow": 5000, "prefect": 4200, "gateway": 8080, "postgres": 5433}
    (tmp_path / "serving.yaml").write_text("port: 9000\n")
    monkeypatch.setenv("STEPLADDER_PREFECT_PORT", "4300")
    ports = read_ports(tmp_path)
    assert (ports["gateway"], ports["prefect"]) == (9000, 4300)
    monkeypatch.setenv("STEPLADDER_GATEWAY_PORT", "9001")
    assert read_ports(tmp_path)["gateway"] == 9001


@pytest.mark.parametrize("wrong", ["x", "0", "65536", "-1"])
def test_what_is_no_port_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("STEPLADDER_MLFLOW_PORT", wrong)
    with pytest.raises(StepladderError, match="STEPLADDER_MLFLOW_PORT"):
        read_ports(tmp_path)


def test_a_taken_port_names_its_holder_and_the_variable_that_moves_it() -> None:
    free, taken = free_ports(2)
    with socket.socket() as held:
        held.bind(("127.0.0.1", taken))
        held.listen()
        assert is_free(free)
        with pytest.raises(StepladderError) as error:
            require_free({"mlflow": free, "prefect": taken})
    assert f"port {taken} (prefect) is taken by process {os.getpid()}" in error.value.what
    assert "STEPLADDER_PREFECT_PORT=" in error.value.remedy


def test_the_port_of_a_database_that_is_not_used_may_be_taken() -> None:
    ports = {"mlflow": 1, "postgres": 2}
    assert of_use(ports, postgres=False) == {"mlflow": 1}
    assert of_use(ports, postgres=True) == ports
