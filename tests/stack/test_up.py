"""A stack that does not come up leaves nothing; the Procfile and the table of services agree."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from honcho.environ import parse_procfile

from stepladder.errors import StepladderError
from stepladder.stack.flows import set_up_flows
from stepladder.stack.place import open_place
from stepladder.stack.processes import marked
from stepladder.stack.running import Running
from stepladder.stack.services import SERVICES, listed
from stepladder.stack.up import down, up
from tests.serving.house import wait_until
from tests.stack.project import ROOT, Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Services that take no time to start, and never are up."""
    made = make_project(tmp_path)
    write_procfile(made)
    yield made
    down(tmp_path, lambda _: None)


def write_procfile(project: Project, **others: str) -> None:
    commands = {**dict.fromkeys(SERVICES, "sleep 60"), **others}
    (project.root / "Procfile").write_text("".join(f"{name}: {line}\n" for name, line in commands.items()))


def test_every_line_of_the_procfile_keeps_the_service_of_its_name() -> None:
    processes = parse_procfile((ROOT / "Procfile").read_text()).processes
    assert set(processes) == set(SERVICES)
    for name, command in processes.items():
        assert re.match(rf"python -m stepladder\.stack\.keep {name} ", command)
    assert "127.0.0.1" in processes["mlflow"]
    assert "127.0.0.1" in processes["prefect"]


def test_a_service_that_ends_is_named_with_its_log_and_all_is_ended(project: Project) -> None:
    failing = "sh -c 'echo Error: no such store; exit 4'"
    write_procfile(project, mlflow=f"python -m stepladder.stack.keep mlflow {failing}")
    done = project.run("up")
    assert done.returncode == 1
    assert "MLflow ended with exit code 4" in done.stderr
    assert "Error: no such store" in done.stderr
    assert ".stepladder/logs/mlflow.log" in done.stderr
    assert "What to do" in done.stderr
    assert marked(project.root) == []


def test_a_service_that_is_not_up_in_time_is_named_and_all_is_ended(project: Project) -> None:
    done = project.run("up", "--wait", "1")
    assert done.returncode == 1
    assert "MLflow was not up within 1 s" in done.stderr
    assert marked(project.root) == []


def test_up_starts_a_postgres_again_that_ended_under_a_stack_that_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = psutil.Process().create_time()
    runs = Running(pid=os.getpid(), created=created, ports=project.ports, database="postgres")
    started: list[int] = []
    for name in ("await_all", "set_up_flows"):
        monkeypatch.setattr(f"stepladder.stack.up.{name}", lambda *_, **__: None)
    monkeypatch.setattr("stepladder.stack.up.read_running", lambda _: runs)
    monkeypatch.setattr("stepladder.stack.postgres.is_running", lambda _: bool(started))
    monkeypatch.setattr("stepladder.stack.postgres.start", lambda _, port: started.append(port))
    said: list[str] = []
    for _ in range(2):
        up(project.root, 1, said.append)
    assert started == [project.ports["postgres"]]
    assert said.count("Postgres has ended; starting it again") == 1


@pytest.mark.slow
def test_ctrl_c_while_it_starts_ends_all_and_another_up_is_refused_meanwhile(project: Project) -> None:
    starting = project.start("up")
    wait_until(lambda: sum(process.name() == "sleep" for process in marked(project.root)) >= 2, 30)
    refused = project.run("up")
    assert refused.returncode == 1
    assert "another `stepladder up`" in refused.stderr
    os.kill(starting.pid, signal.SIGINT)
    _, said = starting.communicate()
    assert starting.returncode == 130, said
    assert marked(project.root) == []


@pytest.mark.slow
def test_down_ends_what_a_killed_supervisor_left(project: Project) -> None:
    starting = project.start("up")
    wait_until(lambda: sum(process.name() == "sleep" for process in marked(project.root)) >= 2, 30)
    for process in marked(project.root):
        if "stepladder.stack.supervise" in process.cmdline():
            process.kill()
    starting.kill()
    starting.communicate()
    assert marked(project.root)
    done = project.run("down")
    assert re.search(r"ended \d+ processes", done.stderr)
    assert marked(project.root) == []


def test_a_taken_port_stops_it_before_anything_starts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = project.ports["prefect"]
    monkeypatch.setattr(os, "environ", project.environment)
    with socket.socket() as held:
        held.bind(("127.0.0.1", taken))
        held.listen()
        with pytest.raises(
            StepladderError, match=rf"port {taken} \(prefect\) is taken by process {os.getpid()}"
        ):
            up(project.root, 1, lambda _: None)
    assert marked(project.root) == []


def test_a_line_of_no_service_is_refused(project: Project) -> None:
    write_procfile(project, more="sleep 60")
    with pytest.raises(StepladderError, match="no service named more"):
        listed(project.root)


@pytest.mark.parametrize(("code", "what"), [("raise SystemExit('no pool')", "no pool"), ("pass", "")])
def test_flows_are_deployed_where_there_are_some(project: Project, code: str, what: str) -> None:
    place, said = open_place(project.root), []
    place.logs.mkdir(parents=True)
    set_up_flows(place, project.ports, said.append)
    assert said == []
    (project.root / "prefect.yaml").touch()
    (project.root / "flows").mkdir()
    (project.root / "flows/__init__.py").touch()  # else the project's own package would be found first
    (project.root / "flows/setup.py").write_text(f"import os\nos.environ['PREFECT_API_URL']\n{code}\n")
    if what:
        with pytest.raises(StepladderError, match=what):
            set_up_flows(place, project.ports, said.append)
    else:
        set_up_flows(place, project.ports, said.append)
        assert said == ["flows: deployed"]


def test_outside_of_a_project_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="no Procfile here"):
        down(tmp_path, lambda _: None)
