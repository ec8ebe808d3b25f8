"""With Prefect on a real Postgres: every deployment is there, a schedule fires, a file is climbed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest

from tests.flows.house import House, house
from tests.flows.postgres import postgres
from tests.flows.project import row, wait_until
from tests.flows.test_flows import FINAL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with postgres("prefect") as database:
        address = f"postgresql+asyncpg://{database}"
        folder = tmp_path_factory.mktemp("flows-postgres")
        with house(folder, PREFECT_SERVER_DATABASE_CONNECTION_URL=address) as made:
            yield made


def test_every_deployment_is_there(here: House) -> None:
    found: list[dict[str, Any]] = here.ask("POST", "/deployments/filter", {})
    assert {one["name"] for one in found} == {"ingest", "climb", "gpu", "promote", "watch"}
    assert {one["name"] for one in found if one["schedules"]} == {"ingest", "climb", "watch"}


@pytest.mark.xfail(
    version("sqlalchemy").startswith("2.1."),
    strict=True,
    reason="Prefect 3.7.7 makes no scheduled runs with SQLAlchemy 2.1: `Can't evaluate bulk DML statement`",
)
def test_a_near_schedule_fires(here: House) -> None:
    found: list[dict[str, Any]] = here.ask("POST", "/deployments/filter", {})
    watch = next(one for one in found if one["name"] == "watch")
    near = {"schedule": {"interval": 5, "anchor_date": "2026-01-01T00:00:00Z"}, "active": True}
    (made,) = here.ask("POST", f"/deployments/{watch['id']}/schedules", [near])
    body = {
        "deployments": {"name": {"any_": ["watch"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    # Its scheduler looks once a minute.
    fired = wait_until(lambda: here.ask("POST", "/flow_runs/filter", body), 90, "the schedule")
    assert fired[0]["auto_scheduled"]
    here.ask("DELETE", f"/deployments/{watch['id']}/schedules/{made['id']}")


def test_a_dropped_file_is_taken_and_climbed(here: House) -> None:
    here.start("inbox", "-m", "flows.ingest")
    waiting = here.project / "inbox/tiny/examples"
    waiting.mkdir(parents=True)
    (waiting / "more.jsonl").write_text("".join(row(number) for number in (50, 51)))
    climbed = wait_until(lambda: here.runs("climb"), 300, "a climb")[0]
    here.stop("inbox")
    assert here.await_state(climbed["id"], *FINAL) == "Completed", here.logs(climbed["id"])
    assert climbed["parameters"]["counts"]["examples"]["kept"] == 2
    assert climbed["parameters"]["kinds"] == ["examples"]
