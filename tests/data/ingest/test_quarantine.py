from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepladder.data.ingest import quarantine
from stepladder.data.ingest.expectations import Finding, Table
from stepladder.data.ingest.ledger import Ledger
from stepladder.data.ingest.quarantine import drop, entries, retry
from stepladder.data.ingest.run import open_place
from stepladder.errors import StepladderError
from tests.data.ingest.conftest import Project, example


@pytest.fixture
def project(plain_project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Rows that answer "bad", and pages that say so, fail a check."""

    def find(tables: dict[str, Table], _: object) -> list[Finding]:
        return [
            Finding(kind, position, "answer", "is bad")
            for kind, table in tables.items()
            for position, record in enumerate(table.records)
            if "bad" in (record.get("output"), record.get("text")) or record.get("form")
        ]

    monkeypatch.setattr("stepladder.data.ingest.row_plans.run_suites", find)
    monkeypatch.setattr("stepladder.data.ingest.pages.run_suites", find)
    return plain_project


def folder_of(project: Project) -> Path:
    return project.root / "quarantine/tiny"


def test_bad_rows_are_held_as_they_came_with_their_reasons(project: Project) -> None:
    sent = example(7, completion="bad", slice="x")
    project.send("tiny/examples/a.jsonl", json.dumps(sent) + "\nnot json\n" + json.dumps(example(8)))
    project.send("tiny/knowledge/deep/reef.md", "bad")
    (account,) = project.ingest().accounts
    page, bad, formless = sorted(entries(folder_of(project)), key=lambda one: one.kind != "knowledge")
    assert (bad.source, bad.row) == ("tiny/examples/a.jsonl:1", sent)
    assert [(fault.check, fault.reason) for fault in bad.faults] == [("answer", "is bad")]
    assert formless.row == "not json"
    assert page.row == "deep/reef.md"
    held = folder_of(project) / f"{account.plan.batch}.knowledge/deep/reef.md"
    assert held.read_text() == "bad"
    assert project.ids()[-1] == "e8"
    assert not (project.root / "tasks/tiny/knowledge/deep").exists()


def test_no_line_however_broken_keeps_the_others_out(project: Project) -> None:
    broken = ['{"prompt": "cut \\ud83d", "completion": "a"}', '{"id": ' + "9" * 5000 + "}", "[" * 100_000]
    for name in ("a", "again"):
        project.send(f"tiny/examples/{name}.jsonl", "\n".join([*broken, json.dumps(example(8))]))
        (account,) = project.ingest().accounts
        arrived = account.plan.counts["examples"]
        assert arrived.kept + arrived.quarantined + arrived.known == 4
    assert [one.row for one in entries(folder_of(project))] == broken
    assert project.ids()[-1] == "e8"


def test_a_mended_row_joins_and_one_left_as_it_was_comes_back(project: Project) -> None:
    rows = [example(n, completion="bad") for n in (7, 8)]
    project.send("tiny/examples/a.jsonl", rows)
    project.send("tiny/knowledge/reef.md", "bad")
    project.ingest()
    folder = folder_of(project)
    (path,) = folder.glob("*.examples.jsonl")
    path.write_text(path.read_text().replace('"completion": "bad"', '"completion": "good"', 1))
    (page,) = folder.glob("*.knowledge/reef.md")
    page.write_text("Good.")
    with open_place(project.root, project.settings) as place:
        retry(folder, entries(folder), place.inbox, place.ledger)
    assert not list(folder.iterdir())
    project.set(settle_s=0)
    (account,) = project.ingest().accounts
    counts = account.plan.counts
    assert (counts["examples"].kept, counts["examples"].quarantined) == (1, 1)
    assert project.ids()[-1] == "e7"
    assert (project.root / "tasks/tiny/knowledge/reef.md").read_text() == "Good."
    (left,) = entries(folder)
    assert left.row["id"] == "e8"


@pytest.mark.parametrize("killed_at", ["release", "_take_out", "left"])
def test_a_retry_that_was_killed_leaves_each_row_in_quarantine_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    project.send("tiny/examples/a.jsonl", [example(n, completion="bad") for n in (7, 8)])
    project.send("tiny/knowledge/reef.md", "bad")
    project.ingest()
    folder = folder_of(project)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, open_place(project.root, project.settings) as place:
        owner = quarantine if killed_at == "_take_out" else Ledger
        patch.setattr(owner, killed_at, die)
        with pytest.raises(KeyboardInterrupt):
            retry(folder, entries(folder), place.inbox, place.ledger)
    project.set(settle_s=0)
    project.ingest()
    rows = [one.row for one in entries(folder)]
    assert sorted(row["id"] if isinstance(row, dict) else row for row in rows) == ["e7", "e8", "reef.md"]
    with open_place(project.root, project.settings) as place:
        assert place.ledger.leaving() == {}


def test_what_was_dropped_is_known_when_it_comes_again(project: Project) -> None:
    rows = [example(n, completion="bad") for n in (7, 8)]
    project.send("tiny/examples/a.jsonl", rows)
    project.ingest()
    folder = folder_of(project)
    drop(folder, entries(folder)[:1])
    assert [one.row["id"] for one in entries(folder)] == ["e8"]
    project.send("tiny/examples/b.jsonl", rows)
    (account,) = project.ingest().accounts
    assert account.plan.counts["examples"].known == 2
    assert [one.row["id"] for one in entries(folder)] == ["e8"]


def test_a_file_spoilt_while_mending_is_named(project: Project) -> None:
    project.send("tiny/examples/a.jsonl", [example(7, completion="bad")])
    project.ingest()
    (path,) = folder_of(project).glob("*.jsonl")
    path.write_text('{"entry": "x"}\n')
    with pytest.raises(StepladderError, match="Field required") as caught:
        entries(folder_of(project))
    assert "mend `row` only" in caught.value.remedy
