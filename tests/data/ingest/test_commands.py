"""The commands `ingest` and `quarantine`, as scripts and people call them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.data.ingest.expectations import Finding, Table
from stepladder.errors import StepladderError
from tests.data.ingest.conftest import Project, example


@pytest.fixture
def project(plain_project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Every row whose answer is "bad" fails; commands run in the project's folder."""

    def find(tables: dict[str, Table], _: object) -> list[Finding]:
        return [
            Finding(kind, position, "answer", "is bad")
            for kind, table in tables.items()
            for position, record in enumerate(table.records)
            if record.get("output") == "bad"
        ]

    monkeypatch.setattr("stepladder.data.ingest.row_plans.run_suites", find)
    monkeypatch.chdir(plain_project.root)
    return plain_project


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_ingest_tells_what_became_of_the_rows(project: Project) -> None:
    project.send("tiny/examples/a.jsonl", [example(4), example(8), example(9, completion="bad")])
    told = call("ingest")
    assert "tiny examples: 3 in = 1 kept + 1 quarantined + 1 known" in told
    assert "stepladder quarantine list tiny" in told
    assert "version: data/tiny/" in told
    assert "nothing new in the inbox" in call("ingest")


def test_ingest_prints_json_for_scripts(project: Project) -> None:
    project.send("tiny/examples/a.jsonl", [example(8)])
    project.send("nobody/examples/a.jsonl", [])
    done = CliRunner().invoke(app, ["ingest", "--json"])
    told = json.loads(done.stdout)
    assert told["batches"][0]["plan"]["counts"]["examples"]["kept"] == 1
    assert told["strays"] == ["nobody/examples/a.jsonl"]


def test_quarantine_is_listed_sent_again_and_dropped(project: Project) -> None:
    project.send("tiny/examples/a.jsonl", [example(n, completion="bad") for n in (7, 8, 9)])
    call("ingest")
    held = json.loads(call("quarantine", "list", "tiny", "--json"))
    assert [one["row"]["id"] for one in held] == ["e7", "e8", "e9"]
    assert "answer: is bad" in call("quarantine", "list", "tiny")
    assert "1 dropped" in call("quarantine", "drop", "tiny", held[0]["entry"])
    assert "2 sent to the inbox" in call("quarantine", "retry", "tiny", held[0]["entry"].split("/")[0])
    assert "0 in quarantine" in call("quarantine", "list", "tiny")
    with pytest.raises(StepladderError, match="no such entry: nonsense"):
        call("quarantine", "drop", "tiny", "nonsense")


def test_quarantine_waits_until_an_interrupted_ingest_was_gone_on_with(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    project.send("tiny/examples/a.jsonl", [example(8)])
    with monkeypatch.context() as patch:
        patch.setattr("stepladder.data.ingest.steps.change_dataset", stop)
        with pytest.raises(KeyboardInterrupt):
            project.ingest()
    with pytest.raises(StepladderError, match="an ingest was interrupted"):
        call("quarantine", "drop", "tiny", "all")
    assert "1 kept" in call("ingest")
