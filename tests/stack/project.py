"""A project whose stack runs on free ports, with SQLite and a stand-in for the gateway."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVERS = ("mlflow", "prefect", "gateway", "postgres")

# The gateway's own start is tested in tests/serving; without a champion it would need a model.
_GATEWAY = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(os.environ["STEPLADDER_GATEWAY_PORT"])), Healthy).serve_forever()
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody serves on; all are held until all are chosen."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    numbers = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return numbers


@dataclass
class Project:
    """A folder with a Procfile, and the environment that its commands run in."""

    root: Path
    ports: dict[str, int]

    @property
    def environment(self) -> dict[str, str]:
        ports = {f"STEPLADDER_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        return {
            **os.environ,
            **ports,
            "STEPLADDER_DATABASE": "sqlite",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "160",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stepladder", *arguments],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def make_project(folder: Path) -> Project:
    """The repository's parameters and Procfile, with a stand-in for the gateway."""
    (folder / "gateway.py").write_text(_GATEWAY)
    for name in ("params.yaml", "serving.yaml"):
        (folder / name).write_text((ROOT / name).read_text())
    procfile = (ROOT / "Procfile").read_text()
    (folder / "Procfile").write_text(re.sub(r"(keep gateway) .*", r"\1 python gateway.py", procfile))
    return Project(folder, dict(zip(SERVERS, free_ports(len(SERVERS)), strict=True)))
