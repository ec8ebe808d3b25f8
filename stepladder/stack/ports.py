"""The ports of the stack: from the environment or as usual, and who holds one that is taken."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from stepladder.errors import StepladderError

Ports = Mapping[str, int]

_USUAL = {"mlflow": 5000, "prefect": 4200, "gateway": 8080, "postgres": 5433}


def as_variables(ports: Ports) -> dict[str, str]:
    """The ports as the environment variables that set them."""
    return {variable(name): str(port) for name, port in ports.items()}


def variable(name: str) -> str:
    """The environment variable that sets a port."""
    return f"STEPLADDER_{name.upper()}_PORT"


def read_ports(root: Path) -> Ports:
    """The port of each server by name, from the environment; else the gateway's is that of ``serving.yaml``.

    Raises:
        StepladderError: a variable holds no port number.
    """
    usual = {**_USUAL, "gateway": _port_of_serving(root / "serving.yaml") or _USUAL["gateway"]}
    return {name: _number(variable(name)) or port for name, port in usual.items()}


def _port_of_serving(path: Path) -> int | None:
    import yaml

    # The library does not import `serving`; the gateway itself checks the rest of its file.
    raw = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    port = raw.get("port") if isinstance(raw, dict) else None
    return port if isinstance(port, int) else None


def _number(name: str) -> int | None:
    given = os.environ.get(name)
    if not given:
        return None
    if not (given.isdecimal() and 0 < int(given) < 65536):
        raise StepladderError(f"{given!r} is no port", where=name, remedy="give a number from 1 to 65535")
    return int(given)


def of_use(ports: Ports, *, postgres: bool) -> Ports:
    """The ports that will be listened on: without Postgres' where it is SQLite."""
    return {name: port for name, port in ports.items() if name != "postgres" or postgres}


def require_free(ports: Ports) -> None:
    """Check that nobody serves on these ports of the loopback.

    Raises:
        StepladderError: one is taken; it names the port, its holder and the variable that moves it.
    """
    for name, port in ports.items():
        if not is_free(port):
            raise StepladderError(
                f"port {port} ({name}) is taken by {holder(port)}",
                where=variable(name),
                remedy=f"end that process, or choose another port: `{variable(name)}=... stepladder up`",
            )


def is_free(port: int) -> bool:
    """Whether a server could bind the port on the loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """The process that listens on a port, in words."""
    import psutil

    for process in psutil.process_iter():
        try:
            found = process.net_connections("inet")
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found):
                command = " ".join(process.cmdline()) or process.name()
                return f"process {process.pid} ({command[:100]})"
        except psutil.Error:  # it has ended, or is another user's
            continue
    return "a process of another user, or one that has just ended"
