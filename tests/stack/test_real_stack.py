"""The whole stack, for real: up, every address answers, up again, down, nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stepladder.stack.ports import is_free
from stepladder.stack.processes import is_alive, marked
from stepladder.stack.services import SERVICES, listed
from tests.serving.house import wait_until
from tests.stack.project import Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = make_project(tmp_path)
    yield made
    made.run("down")


def kill(project: Project, *commands: str) -> None:
    """Kill the services with these commands, all at once; who keeps them up lives on."""
    found = [
        process
        for process in marked(project.root)
        for command in commands
        if command in " ".join(process.cmdline()) and "stepladder.stack.keep" not in process.cmdline()
    ]
    assert len(found) == len(commands)
    for process in found:
        process.kill()
    wait_until(lambda: not any(is_alive(process) for process in found))


@pytest.mark.slow
def test_the_stack_comes_up_answers_and_leaves_nothing_behind(project: Project) -> None:
    done = project.run("up")
    assert done.returncode == 0, done.stderr
    for name in ("mlflow", "prefect", "gateway"):
        url = f"http://127.0.0.1:{project.ports[name]}"
        assert url in done.stdout
        assert httpx.get(url, follow_redirects=True, timeout=30).is_success, name
    assert all(SERVICES[name].title in done.stdout for name in listed(project.root))
    logs = {path.name for path in (project.root / ".stepladder/logs").iterdir()}
    assert {f"{name}.log" for name in ("stack", "mlflow", "prefect", "worker-cpu", "worker-gpu")} <= logs
    first = {process.pid for process in marked(project.root)}

    again = project.run("up")
    assert again.returncode == 0, again.stderr
    assert "runs already" in again.stderr
    assert again.stdout == done.stdout
    assert {process.pid for process in marked(project.root)} == first

    kill(project, "prefect server start", "prefect worker start --pool cpu")
    healed = project.run("up")
    assert healed.returncode == 0, healed.stderr

    ended = project.run("down")
    assert ended.returncode == 0, ended.stderr
    assert marked(project.root) == []
    assert all(is_free(port) for port in project.ports.values())
    assert "nothing ran" in project.run("down").stdout
