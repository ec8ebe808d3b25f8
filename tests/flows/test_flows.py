"""The flows on a real Prefect server with a real worker: events, bursts, cancelling, kills at every place."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from stepladder.data.ingest.events import send_event
from stepladder.data.ingest.records import Counts, DatasetUpdated
from tests.flows.house import House, house
from tests.flows.project import PARAMS, add_example, commit, dvc, run, state_of, wait_until

pytestmark = pytest.mark.slow

FINAL = ("Completed", "Failed", "Crashed", "Cancelled")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("flows")) as made:
        yield made


def event(commit_id: str, number: int) -> DatasetUpdated:
    return DatasetUpdated(
        id=f"00000000-0000-4000-8000-{int(time.time()) % 10**8:08d}{number:04d}",
        occurred=f"2026-01-01T00:00:{number:02d}Z",
        task="tiny",
        kinds=["examples"],
        commit=commit_id,
        tag=f"data/tiny/{number}",
        counts={"examples": Counts(arrived=number, kept=number, quarantined=0, known=0)},
    )


def ticking(here: House) -> int:
    """The process of the stage `train`, which waits; once it writes."""
    here.ticks.unlink(missing_ok=True)
    wait_until(here.ticks.exists, 60, "train to begin")
    return int(here.ticks.read_text().split()[0])


def assert_nothing_writes(here: House) -> None:
    def quiet() -> bool:
        before = here.ticks.stat().st_size
        time.sleep(0.5)  # ten ticks
        return here.ticks.stat().st_size == before

    wait_until(quiet, 10, "the stage's process to end")


def process_of_flow(run_id: str) -> psutil.Process:
    """The process of a flow run: the one that has the run's id in its environment, and no such parent."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                found.append(process)
        except psutil.Error:
            continue
    mine = {one.pid for one in found}
    return next(one for one in found if one.ppid() not in mine)


def hold(here: House) -> str:
    """A climb that waits in the stage `train`; its id."""
    (here.project / "rule.txt").write_text(f"{time.time_ns()}\n")
    commit(here.project, "Another rule")
    here.hold.touch()
    started = here.run("climb/climb")
    ticking(here)
    return started


def set_flows(here: House, **flows: Any) -> None:
    """Change what flows may do in the project, whose parameters a run reads when it begins."""
    path = here.project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(params | {"flows": PARAMS["flows"] | flows}))
    commit(here.project, f"Flows: {flows}")


def kill_worker(here: House) -> None:
    worker = here.processes.pop("worker-cpu")
    worker.kill()
    worker.wait()


def test_a_burst_of_events_is_one_climb_of_the_newest_and_is_reproduced_at_a_desk(
    here: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = state_of(here.project)
    assert here.await_state(here.run("climb/climb"), *FINAL) == "Completed"
    assert state_of(here.project) == before

    monkeypatch.setenv("PREFECT_API_URL", here.api)
    commits = [add_example(here.project, number) for number in (1, 2, 3)]
    for number, one in enumerate(commits, 1):
        assert send_event(event(one, number)) is None
    asked = wait_until(lambda: len(found := here.runs("climb")[1:]) == 3 and found, 60, "three requests")
    wait_until(lambda: all(here.state(one["id"]) in FINAL for one in asked), 120, "all of them to end")
    states = sorted(here.state(one["id"]) for one in asked)
    assert states == ["Cancelled", "Cancelled", "Completed"]
    done = next(one for one in asked if here.state(one["id"]) == "Completed")
    told = here.logs(done["id"])
    assert any(f"of commit {commits[-1]}" in line for line in told)
    assert "train: reading 1 files" in told
    assert list(here.tasks(done["id"])) == ["gather", "train", "judge", "keep", "release@tiny"]

    number = commits.index(done["parameters"]["commit"]) + 1
    assert done["parameters"] == {
        "commit": commits[number - 1],
        "task": "tiny",
        "kinds": ["examples"],
        "counts": {"examples": {"arrived": number, "kept": number, "quarantined": 0, "known": 0}},
    }
    artifacts = here.ask("POST", "/artifacts/filter", {"flow_runs": {"id": {"any_": [done["id"]]}}})
    assert {one["key"] for one in artifacts} >= {"outputs-train", "metrics-judge"}

    branch = run(
        here.project,
        "git",
        "for-each-ref",
        "--sort=-creatordate",
        "--format=%(refname:short)",
        "refs/heads/runs",
    )
    run(tmp_path, "git", "clone", "-q", str(here.project), "desk")
    run(tmp_path / "desk", "git", "checkout", "-q", branch.splitlines()[0])
    dvc(tmp_path / "desk", "pull")
    assert "Running stage" not in dvc(tmp_path / "desk", "repro")


def test_cancelling_ends_the_stage_within_ten_seconds(here: House) -> None:
    held = hold(here)
    started = time.monotonic()
    here.ask("POST", f"/flow_runs/{held}/set_state", {"state": {"type": "CANCELLING"}})
    assert_nothing_writes(here)
    assert time.monotonic() - started < 10
    here.await_state(held, "Cancelled", timeout_s=60)
    assert not [one for one in (here.project / "var/flows/climbs").iterdir() if one.is_dir()]


def test_kill_9_of_worker_and_stage_lets_the_run_complete(here: House) -> None:
    held = hold(here)
    kill_worker(here)
    os.kill(ticking(here), signal.SIGKILL)
    here.hold.unlink()
    assert here.await_state(held, *FINAL) == "Completed", here.logs(held)
    here.start_worker()


def test_kill_9_of_the_server_ends_no_run_that_lives(here: House) -> None:
    held = hold(here)
    here.stop("server")
    here.start_server()
    here.hold.unlink()
    assert here.await_state(held, *FINAL) == "Completed", here.logs(held)


def test_a_newer_request_ends_a_running_climb_where_that_is_asked_for(here: House) -> None:
    set_flows(here, supersede_running=True)
    held = hold(here)
    following = here.run("climb/climb")
    here.hold.unlink()
    assert here.await_state(held, *FINAL) == "Cancelled"
    assert "judge" not in here.tasks(held)
    assert here.await_state(following, *FINAL) == "Completed", here.logs(following)
    assert "train" not in here.tasks(following)
    set_flows(here)


def test_a_stage_on_the_pool_gpu_is_run_again_only_where_that_may_help(here: House, tmp_path: Path) -> None:
    (here.project / "rule.txt").write_text(f"passes after {tmp_path / 'mark'}")
    set_flows(here, gpu_stages=["train"])
    here.start_worker("gpu")
    started = here.run("climb/climb")
    assert here.await_state(started, *FINAL) == "Completed", here.logs(started)
    assert [one["state"]["name"] for one in here.runs("gpu")] == ["MayPass", "Completed"]
    assert "train: reading 1 files" in here.logs(here.runs("gpu")[1]["id"])
    here.stop("worker-gpu")
    set_flows(here)


def test_kill_9_of_the_flow_alone_or_with_its_worker_frees_the_slot(here: House) -> None:
    before = state_of(here.project)
    alone = hold(here)
    process_of_flow(alone).kill()
    assert_nothing_writes(here)
    assert here.await_state(alone, *FINAL) == "Crashed"

    together = hold(here)
    flow = process_of_flow(together)
    kill_worker(here)
    flow.kill()
    assert_nothing_writes(here)
    here.start_worker()
    here.hold.unlink()
    following = here.run("climb/climb")
    assert here.await_state(following, *FINAL, timeout_s=240) == "Completed", here.logs(following)
    assert here.state(together) == "Crashed"  # by its missing heartbeat
    assert state_of(here.project) == before | {"rule.txt": (here.project / "rule.txt").read_bytes()}


@pytest.mark.parametrize(
    ("rule", "state", "times"), [("leak", "Failed", 1), ("passes after {mark}", "Completed", 2)]
)
def test_a_stage_is_run_again_only_where_that_may_help(
    *, here: House, tmp_path: Path, rule: str, state: str, times: int
) -> None:
    (here.project / "rule.txt").write_text(rule.format(mark=tmp_path / "mark"))
    commit(here.project, f"Rule: {rule}")
    started = here.run("climb/climb")
    assert here.await_state(started, *FINAL) == state
    assert sum(line == "train: reading 1 files" for line in here.logs(started)) == times
