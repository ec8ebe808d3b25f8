"""The flows on a real Prefect server with real workers: events, schedules, cancelling, kills everywhere."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows.promote import slot_of
from stepladder.data.ingest.events import send_event
from stepladder.data.ingest.records import Counts, DatasetUpdated
from stepladder.promotion import note_live, standing
from stepladder.stack.postgres import program
from tests.flows.house import House, house
from tests.flows.postgres import postgres
from tests.flows.project import PARAMS, add_example, commit, dvc, row, run, state_of, wait_until
from tests.flows.released import TASK, give_verdict
from tests.stub_server import stub_server

pytestmark = pytest.mark.slow

FINAL = ("Completed", "Failed", "Crashed", "Cancelled")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The flows with Prefect and MLflow on a real Postgres, or on SQLite where none is installed.

    A file waits, and its watcher runs, before anything is deployed.
    """
    import mlflow

    folder, before = tmp_path_factory.mktemp("flows"), mlflow.get_tracking_uri()
    uri, server = f"sqlite:///{folder}/mlflow.db", {}
    with ExitStack() as stack:
        if program("initdb"):
            database = stack.enter_context(postgres("prefect", "mlflow"))
            uri = f"postgresql+psycopg2://{database}/mlflow"
            server = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}/prefect"}
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("MLFLOW_TRACKING_URI", uri)
        stack.callback(mlflow.set_tracking_uri, before)

        def prepare(made: House) -> None:
            made.more["MLFLOW_TRACKING_URI"] = uri
            give_verdict(made.project, uri)
            drop(made, 50, 51)
            made.start("inbox", "-m", "flows.ingest")

        made = stack.enter_context(house(folder, prepare, **server))
        wait_until(
            lambda: [one for one in made.runs("climb") if one["state"]["name"] in FINAL], 180, "a climb"
        )
        made.stop("inbox")
        yield made


def drop(here: House, *numbers: int) -> None:
    waiting = here.project / "inbox/tiny/examples"
    waiting.mkdir(parents=True, exist_ok=True)
    path = waiting / f"from-{numbers[0]}.jsonl"
    path.write_text("".join(row(number) for number in numbers))
    os.utime(path, (1e9, 1e9))  # long settled


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


def test_every_deployment_is_there_and_the_automation_is_made_once(here: House) -> None:
    found: list[dict[str, Any]] = here.ask("POST", "/deployments/filter", {})
    assert {one["name"] for one in found} == {"ingest", "climb", "gpu", "promote", "watch"}
    assert {one["name"] for one in found if one["schedules"]} == {"ingest", "climb", "watch"}
    before = {one["id"] for one in here.ask("POST", "/automations/filter", {})}
    again = here.start("again", "-c", "from flows import setup; setup.free_slots_of_killed_runs()")
    assert again.wait() == 0, here.log("again")
    assert {one["id"] for one in here.ask("POST", "/automations/filter", {})} == before


def test_a_file_that_waited_before_the_flows_were_deployed_is_climbed_and_the_winner_promoted(
    here: House,
) -> None:
    (climbed,) = here.runs("climb")
    assert climbed["state"]["name"] == "Completed", here.logs(climbed["id"])
    (promoted,) = wait_until(lambda: here.runs("promote"), 60, "a promotion")
    wait_until(lambda: standing(TASK).champion == "1", 60, "the champion")
    note_live(TASK, "1")  # as a gateway does
    assert here.await_state(promoted["id"], *FINAL) == "Completed", here.logs(promoted["id"])
    assert climbed["parameters"]["counts"]["examples"]["kept"] == 2
    assert climbed["parameters"]["kinds"] == ["examples"]
    assert promoted["parameters"]["version"] == "1"
    here.await_line(promoted["id"], "version 1 answers (before: none)")
    now = standing(TASK)
    assert (now.champion, now.versions["1"].refused) == ("1", None)
    artifacts = here.ask("POST", "/artifacts/filter", {"flow_runs": {"id": {"any_": [climbed["id"]]}}})
    assert {one["key"] for one in artifacts} >= {"verdict-tiny", "rungs-tiny"}


def test_an_ingest_by_hand_takes_what_waits_and_is_climbed(here: House) -> None:
    drop(here, 60)
    taken = here.run("ingest/ingest")
    assert here.await_state(taken, *FINAL) == "Completed", here.logs(taken)
    here.await_line(taken, "tiny, examples: 1 in = 1 kept + 0 quarantined + 0 known")
    climbed = wait_until(lambda: here.runs("climb")[1:], 120, "a climb")[0]
    assert here.await_state(climbed["id"], *FINAL) == "Completed", here.logs(climbed["id"])
    assert len(here.runs("promote")) == 1  # the same verdict


def test_a_burst_of_events_is_one_climb_of_the_newest_and_is_reproduced_at_a_desk(
    here: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = state_of(here.project)
    assert here.await_state(here.run("climb/climb"), *FINAL) == "Completed"
    assert state_of(here.project) == before

    monkeypatch.setenv("PREFECT_API_URL", here.api)
    earlier = len(here.runs("climb"))
    commits = [add_example(here.project, number) for number in (1, 2, 3)]
    for number, one in enumerate(commits, 1):
        assert send_event(event(one, number)) is None
    asked = wait_until(
        lambda: len(found := here.runs("climb")[earlier:]) == 3 and found, 60, "three requests"
    )
    wait_until(lambda: all(here.state(one["id"]) in FINAL for one in asked), 120, "all of them to end")
    states = sorted(here.state(one["id"]) for one in asked)
    assert states == ["Cancelled", "Cancelled", "Completed"]
    done = next(one for one in asked if here.state(one["id"]) == "Completed")
    told = here.all_logs(done["id"])
    assert any(f"of commit {commits[-1]}" in line for line in told)
    assert "train: reading 1 files" in told
    assert list(here.tasks(done["id"])) == ["gather", "train", "judge", "verdict", "keep", "release@tiny"]

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


def test_kill_9_of_the_server_and_of_a_promotion_leaves_no_slot_taken(here: House) -> None:
    body = {"names": [slot_of(TASK)], "slots": 1, "mode": "concurrency", "lease_duration": 60}
    lease = here.ask("POST", "/v2/concurrency_limits/increment-with-lease", body)["lease_id"]
    here.stop("server")
    here.start_server()
    # One that lives goes on holding it; this one is dead from here on.
    here.ask("POST", f"/v2/concurrency_limits/leases/{lease}/renew", {"lease_duration": 60})
    promoted = here.run("promote/promote", task=TASK, version="1")
    wait_until(lambda: not standing(TASK).versions["1"].live, 150, "the slot")
    note_live(TASK, "1")
    assert here.await_state(promoted, *FINAL) == "Completed", here.logs(promoted)


def test_newer_data_ends_a_running_climb_where_that_is_asked_for(here: House) -> None:
    set_flows(here, supersede_running=True)
    add_example(here.project, 70)  # so that what comes after `train` is stale, too
    held = hold(here)
    following = here.run("climb/climb")
    here.hold.unlink()
    assert here.await_state(held, *FINAL) == "Cancelled"
    assert "judge" not in here.tasks(held)
    assert here.await_state(following, *FINAL) == "Completed", here.logs(following)
    assert "train" not in here.tasks(following)
    set_flows(here)


def test_a_stage_on_the_pool_gpu_is_run_again_where_that_may_help(here: House, tmp_path: Path) -> None:
    (here.project / "rule.txt").write_text(f"passes after {tmp_path / 'mark'}")
    set_flows(here, gpu_stages=["train"])
    here.start_worker("gpu")
    started = here.run("climb/climb")
    assert here.await_state(started, *FINAL) == "Completed", here.logs(started)
    assert [one["state"]["name"] for one in here.runs("gpu")] == ["MayPass", "Completed"]
    here.await_line(here.runs("gpu")[1]["id"], "train: reading 1 files")
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
    watched_every_minute(here)  # meanwhile: the heartbeat is missed after 90 s
    assert here.await_state(following, *FINAL, timeout_s=240) == "Completed", here.logs(following)
    assert here.state(together) == "Crashed"  # by its missing heartbeat
    changed = {name: (here.project / name).read_bytes() for name in ("rule.txt", "params.yaml")}
    assert state_of(here.project) == before | changed


def watched_every_minute(here: House) -> None:
    """A cron schedule fires, and the watch asks what serves."""
    path = here.project / "params.yaml"
    whole = path.read_text()
    params = yaml.safe_load(whole)
    found: list[dict[str, Any]] = here.ask("POST", "/deployments/filter", {})
    watch = next(one for one in found if one["name"] == "watch")
    near = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    with stub_server(lambda _: "Keeper of nothing") as stub:
        params["flows"]["watch"] = {"gateway": stub.url.removesuffix("/v1"), "fewest": 2}
        path.write_text(yaml.safe_dump(params))
        (made,) = here.ask("POST", f"/deployments/{watch['id']}/schedules", [near])
        wait_until(lambda: told_by_watch(here), 180, "the schedule")
        here.ask("DELETE", f"/deployments/{watch['id']}/schedules/{made['id']}")
        assert {one["model"] for one in stub.seen} == {TASK}
    path.write_text(whole)
    assert told_by_watch(here)[0] == "tiny: fresh cases: 0.00 on 4; the bar is 0.50, the margin 0.05"
    body = {"filter": {"event": {"name": ["watch.finding"]}}}
    events = wait_until(lambda: here.ask("POST", "/events/filter", body)["events"], 30, "the findings")
    assert "fresh cases" in {one["payload"]["name"] for one in events}


def told_by_watch(here: House) -> list[str]:
    """What runs of a schedule have found in fresh cases."""
    body = {
        "deployments": {"name": {"any_": ["watch"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    runs = [one for one in here.ask("POST", "/flow_runs/filter", body) if one["auto_scheduled"]]
    lines = [line for one in runs for line in here.all_logs(one["id"])]
    return [line for line in lines if line.startswith("tiny: fresh cases: ")]


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
    assert sum(line == "train: reading 1 files" for line in here.all_logs(started)) == times


@pytest.mark.skipif(not program("initdb"), reason="without Postgres all of the above ran on SQLite")
def test_a_climb_on_sqlite(tmp_path: Path) -> None:
    with house(tmp_path) as small:
        climbed = small.run("climb/climb")
        assert small.await_state(climbed, *FINAL) == "Completed", small.logs(climbed)
