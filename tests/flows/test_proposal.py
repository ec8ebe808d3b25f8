"""A promotion is proposed once for a verdict and its version, and surely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows import proposal
from flows.proposal import propose
from stepladder.data.ingest import events
from stepladder.errors import StepladderError
from stepladder.files import digest_file, write_json
from stepladder.settings import load_settings
from stepladder.stages.release import run, store_identity
from stepladder.stages.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A verdict that was registered as version 7."""
    made = Workspace(tmp_path, load_settings(Path(__file__).parents[2] / "params.yaml"))
    write_json(made.verdict("qa"), {"decision": "promote"})
    done = {"verdict": digest_file(made.verdict("qa")), "store": store_identity(made)}
    write_json(made.scratch / "released/qa.json", {"done": done, "run": "r", "version": "7"})
    return made


def test_a_release_that_was_registered_before_still_has_its_version(workspace: Workspace) -> None:
    assert run(workspace, "qa") == "7"


def test_it_is_proposed_once_and_again_where_it_was_not_taken(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    faults = iter(["the server is away", None])

    def post(event: dict[str, Any]) -> str | None:
        sent.append(event)
        return next(faults, None)

    monkeypatch.setattr(events, "post", post)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert not propose(workspace, "qa", "7", "run-1")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(StepladderError, match="the server is away") as caught:
        propose(workspace, "qa", "7", "run-1")
    assert caught.value.may_pass
    assert propose(workspace, "qa", "7", "run-1")
    assert not propose(workspace, "qa", "7", "run-2")
    assert sent[0]["id"] == sent[1]["id"]
    assert sent[1]["event"] == proposal.PROMOTE
    assert sent[1]["payload"] == {"task": "qa", "version": "7", "run": "run-1"}

    assert propose(workspace, "qa", "8", "run-2")
    write_json(workspace.verdict("qa"), {"decision": "promote", "other": 1})
    assert propose(workspace, "qa", "8", "run-3")
    assert len({one["id"] for one in sent}) == 3
