"""With Prefect and MLflow on a real Postgres: from a dropped file to the champion, and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from stepladder.promotion import standing
from tests.flows.house import House, house
from tests.flows.postgres import postgres
from tests.flows.project import row, wait_until
from tests.flows.released import TASK, give_verdict
from tests.flows.test_flows import FINAL
from tests.flows.test_live import gateway
from tests.stub_server import StubServer, stub_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A file waits, and its watcher runs, before anything is deployed."""
    import mlflow

    before = mlflow.get_tracking_uri()
    with postgres("prefect", "mlflow") as server, pytest.MonkeyPatch.context() as patch:
        uri = f"postgresql+psycopg2://{server}/mlflow"
        patch.setenv("MLFLOW_TRACKING_URI", uri)

        def prepare(made: House) -> None:
            made.more["MLFLOW_TRACKING_URI"] = uri
            give_verdict(made.project, uri)
            drop(made, 50, 51)
            made.start("inbox", "-m", "flows.ingest")

        folder = tmp_path_factory.mktemp("flows-postgres")
        address = f"postgresql+asyncpg://{server}/prefect"
        with house(folder, prepare, PREFECT_SERVER_DATABASE_CONNECTION_URL=address) as made:
            every_minute(made)
            yield made
        mlflow.set_tracking_uri(before)


def drop(here: House, *numbers: int) -> None:
    waiting = here.project / "inbox/tiny/examples"
    waiting.mkdir(parents=True, exist_ok=True)
    (waiting / f"from-{numbers[0]}.jsonl").write_text("".join(row(number) for number in numbers))


def every_minute(here: House) -> None:
    """Let the watch run every minute: the last test looks whether it did."""
    found: list[dict[str, Any]] = here.ask("POST", "/deployments/filter", {})
    watch = next(one for one in found if one["name"] == "watch")
    near = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    here.ask("POST", f"/deployments/{watch['id']}/schedules", [near])


def test_every_deployment_is_there(here: House) -> None:
    found: list[dict[str, Any]] = here.ask("POST", "/deployments/filter", {})
    assert {one["name"] for one in found} == {"ingest", "climb", "gpu", "promote", "watch"}
    assert {one["name"] for one in found if one["schedules"]} == {"ingest", "climb", "watch"}


def test_the_automation_that_frees_slots_is_made_once(here: House) -> None:
    before = {one["id"] for one in here.ask("POST", "/automations/filter", {})}
    again = here.start("again", "-c", "from flows import setup; setup.free_slots_of_killed_runs()")
    assert again.wait() == 0, here.log("again")
    assert {one["id"] for one in here.ask("POST", "/automations/filter", {})} == before


def test_a_file_that_waited_before_the_flows_were_deployed_is_climbed_and_the_winner_promoted(
    here: House,
) -> None:
    with gateway(TASK):
        climbed = wait_until(lambda: here.runs("climb"), 300, "a climb")[0]
        here.stop("inbox")
        assert here.await_state(climbed["id"], *FINAL) == "Completed", here.logs(climbed["id"])
        promoted = wait_until(lambda: here.runs("promote"), 60, "a promotion")[0]
        assert here.await_state(promoted["id"], *FINAL) == "Completed", here.logs(promoted["id"])
    assert climbed["parameters"]["counts"]["examples"]["kept"] == 2
    assert climbed["parameters"]["kinds"] == ["examples"]
    assert promoted["parameters"]["version"] == "1"
    assert any("version 1 answers" in line for line in here.logs(promoted["id"]))
    now = standing(TASK)
    assert (now.champion, now.versions["1"].refused) == ("1", None)
    artifacts = here.ask("POST", "/artifacts/filter", {"flow_runs": {"id": {"any_": [climbed["id"]]}}})
    assert {one["key"] for one in artifacts} >= {"verdict-tiny", "rungs-tiny"}


def test_what_serves_is_watched_every_minute_and_an_ingest_by_hand_takes_what_waits(here: House) -> None:
    drop(here, 60)
    with stub_server(lambda _: "Keeper of nothing") as stub:
        watch_through(here, stub)
        taken = here.run("ingest/ingest")
        assert here.await_state(taken, *FINAL) == "Completed", here.logs(taken)
        wait_until(lambda: told(here), 180, "the schedule")
        assert {one["model"] for one in stub.seen} == {TASK}
    assert "tiny, examples: 1 in = 1 kept + 0 quarantined + 0 known" in here.logs(taken)
    assert told(here)[0] == "tiny: fresh cases: 0.00 on 4; the bar is 0.50, the margin 0.05"
    body = {"filter": {"event": {"name": ["watch.finding"]}}}
    found = wait_until(lambda: here.ask("POST", "/events/filter", body)["events"], 30, "the findings")
    assert "fresh cases" in {one["payload"]["name"] for one in found}


def told(here: House) -> list[str]:
    """What runs of the schedule have found in fresh cases."""
    body = {
        "deployments": {"name": {"any_": ["watch"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    runs = [one for one in here.ask("POST", "/flow_runs/filter", body) if one["auto_scheduled"]]
    lines = [line for one in runs for line in here.logs(one["id"])]
    return [line for line in lines if line.startswith("tiny: fresh cases: ")]


def watch_through(here: House, stub: StubServer) -> None:
    path = here.project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["flows"]["watch"] = {"gateway": stub.url.removesuffix("/v1"), "fewest": 2}
    path.write_text(yaml.safe_dump(params))
