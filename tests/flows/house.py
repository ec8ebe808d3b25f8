"""A real Prefect server and real process workers on loopback, with nothing of this machine's own settings."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.flows.project import make_project, run, wait_until

ROOT = Path(__file__).parents[2]


@dataclass
class House:
    """A project, a server and its workers."""

    project: Path
    home: Path
    api: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))
        }
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "TRAIN_WAITS_FOR": str(self.hold),
            **self.more,
        }

    @property
    def hold(self) -> Path:
        """While this file exists, the stage `train` waits, and ticks."""
        return self.home / "hold"

    @property
    def ticks(self) -> Path:
        return Path(f"{self.hold}.ticks")

    def start(self, name: str, *command: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=folder or self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def start_server(self) -> None:
        port = self.api.split(":")[2].split("/")[0]
        self.start("server", "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
        wait_until(self._answers, 300, "the server")

    def start_worker(self, pool: str = "cpu") -> None:
        self.start(f"worker-{pool}", "-m", "prefect", "worker", "start", "--pool", pool, "--name", pool)

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        with suppress(psutil.NoSuchProcess):
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()

    def end_runs(self) -> None:
        """End the runs that have outlived a worker that was killed: they hold this server's address."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get("PREFECT_API_URL") == self.api:
                    process.kill()

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        def asked() -> httpx.Response | None:
            found = httpx.request(method, f"{self.api}{path}", json=body, timeout=120)
            return None if found.status_code == 503 else found  # SQLite was locked

        answer: httpx.Response = wait_until(asked, 30, path)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Flow runs of a deployment, oldest first; those that wait for their schedule apart."""
        found = self.ask("POST", "/flow_runs/filter", {"deployments": {"name": {"any_": [deployment]}}})
        return sorted((one for one in found if not one["auto_scheduled"]), key=lambda one: one["created"])

    def state(self, run_id: str) -> str:
        return str(self.ask("GET", f"/flow_runs/{run_id}")["state"]["name"])

    def logs(self, run_id: str) -> list[str]:
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return [one["message"] for one in self.ask("POST", "/logs/filter", body)]

    def all_logs(self, run_id: str) -> list[str]:
        """``logs`` of a run that has ended, its last line among them: they come in the background."""

        def ended() -> list[str]:
            told = self.logs(run_id)
            return told if any(line.startswith("Finished in state") for line in told) else []

        return wait_until(ended, 30, f"the last line of {run_id}")

    def tasks(self, run_id: str) -> dict[str, str]:
        """Task runs by name, with the state of each, in the order of their start."""
        found = self.ask("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        found = [one for one in found if one["start_time"]]
        return {one["name"]: one["state"]["name"] for one in sorted(found, key=lambda one: one["start_time"])}

    def run(self, flow_and_deployment: str, **parameters: Any) -> str:
        """Ask for a run by hand; its id."""
        found = self.ask("GET", f"/deployments/name/{flow_and_deployment}")
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask("POST", f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def await_state(self, run_id: str, *names: str, timeout_s: float = 300) -> str:
        wait_until(lambda: self.state(run_id) in names, timeout_s, f"{names} of {run_id}")
        return self.state(run_id)

    def await_line(self, run_id: str, line: str) -> None:
        """Logs come in the background, a little after a run has ended."""
        wait_until(lambda: line in self.logs(run_id), 30, f"{line!r} in {run_id}")

    def _answers(self) -> bool:
        assert self.processes["server"].poll() is None, self.log("server")
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.api}/health", timeout=2).is_success
        return False


@contextmanager
def house(folder: Path, prepare: Callable[[House], None] = lambda _: None, **server: str) -> Iterator[House]:
    """The project deployed on a server of its own, with a worker of the pool `cpu`.

    ``prepare`` is called once the server answers, before anything is deployed.
    """
    project = make_project(folder / "project")
    for name in ("prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, project)
    # Deployments name files of the project: the flows of this checkout.
    (project / "flows").symlink_to(ROOT / "flows")
    (project / ".gitignore").open("a").write("/flows\n")
    run(project, "git", "add", ".")
    run(project, "git", "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qm", "Add Prefect")
    home = folder / "home"
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    made = House(project, home, f"http://127.0.0.1:{port}/api", more=server)
    try:
        made.start_server()
        prepare(made)
        setup = made.start("setup", "-m", "flows.setup")
        assert setup.wait() == 0, made.log("setup")
        made.start_worker()
        yield made
    finally:
        for name in list(made.processes):
            made.stop(name)
        made.end_runs()
