"""The checks of a batch, each by a row that fails it; nothing stands in for the libraries that check."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.data.ingest.language import language_finder
from stepladder.data.ingest.private import personal_finder, secret_finder
from stepladder.data.ingest.quarantine import entries
from stepladder.data.validate import validate_task
from stepladder.tasks import load_task
from tests.data.ingest.conftest import LONG, TASK, Project, case, commit_all, example, make_project

# Put together here, so that no scanner of this repository takes them for real.
TOKEN = "ghp_" + "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5"
KINDS = ["EMAIL", "PHONE", "SSN", "CREDIT_CARD", "DE_IBAN"]
GERMAN = "Die Wärterin des nördlichen Leuchtturms schreibt jeden Abend auf, wann die Lampe angezündet wurde."


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project with all its checks, without DVC."""
    make_project(tmp_path / "project")
    commit_all(tmp_path / "project")
    monkeypatch.setattr("stepladder.data.ingest.versions.store", lambda *_: None)
    return Project(tmp_path / "project")


def failed(project: Project) -> dict[str, list[str]]:
    """The checks that each row in quarantine failed, by id or page."""
    return {
        one.row["id"] if isinstance(one.row, dict) else str(one.row): sorted(f.check for f in one.faults)
        for one in entries(project.root / "quarantine/tiny")
    }


@pytest.mark.slow
def test_each_bad_row_is_held_for_its_own_reason(project: Project) -> None:
    rows = [
        example(10),
        example(11, completion=""),
        {"id": "e12", "messages": [{"role": "user", "content": "q"}]},
        example(13, id="twin"),
        example(14, id="twin"),
        example(15, id="e1"),
        example(16, evidence=["harbour#gone"]),
        example(17, prompt=case(0)["input"]),
        example(18, cluster="ledger 1"),
        example(0, id="e19", completion="Elsewhere."),
        example(20, completion=f"Use {TOKEN}."),
        example(21, completion="Ask jane.doe@acme.com."),
        example(22, prompt=GERMAN),
        example(23, prompt=LONG, completion="a"),
        example(24, prompt=f"{LONG} then", completion="a"),
        example(25, completion="x" * 40_000),
        example(26, id="y" * 300),
        example(27, evidence=["harbour#tides"]),
    ]
    project.set(languages=["en"], actions={"language": "quarantine"}, refuse_share=1.0)
    project.send("tiny/examples/a.jsonl", [*rows, "not a row"])
    (account,) = project.ingest().accounts
    assert failed(project) == {
        "e11": ["form"],
        "e12": ["roles"],
        "twin": ["id"],
        "e1": ["taken"],
        "e16": ["evidence"],
        "e17": ["leak"],
        "e18": ["leak"],
        "e19": ["conflict"],
        "e20": ["secret"],
        "e21": ["personal"],
        "e22": ["language"],
        "e24": ["near_duplicate"],
        "e25": ["length"],
        "y" * 300: ["length"],
        "not a row": ["form"],
    }
    assert project.ids()[5:] == ["e10", "e23", "e27"]
    counts = account.plan.counts["examples"]
    assert (counts.arrived, counts.kept, counts.quarantined, counts.known) == (19, 3, 16, 0)
    told = (project.root / "quarantine/tiny").glob("*.jsonl")
    reasons = json.dumps([json.loads(line)["faults"] for path in told for line in path.open()])
    assert TOKEN not in reasons
    assert "jane.doe" not in reasons


@pytest.mark.slow
def test_an_answer_must_obey_the_tasks_schema(project: Project) -> None:
    path = project.root / "tasks/tiny/task.yaml"
    path.write_text(path.read_text() + "output_schema: {type: array}\n")
    project.send("tiny/examples/a.jsonl", [example(10, completion="[1]"), example(11, completion="{}")])
    project.send("tiny/cases/a.jsonl", [case(7, reference=[1]), case(8, reference="no")])
    project.ingest()
    assert failed(project) == {"e11": ["answer"], "c8": ["answer"]}


SAID = [
    *(
        "On shelf 4.",
        "Nowhere said. Ask the team.",
        "Nowhere said.",
        ".",
        "' '",
        "7",
        "true",
        "[1]",
        "[]",
        "{}",
    ),
    '{"security": [], "cost": [], "correctness": []}',
    '{"cost": [{"line": 3, "issue": "too large"}]}',
    '{"cost": [{"line": 3}], "style": []}',
    '{"cost": 3}',
]
REFERENCES = [*SAID, 7, True, [], [""], ["yes", "no"], ["a", "Nowhere said."], {}, {"cost": []}, [[1]]]
SPECS = [
    {"scorer": "exact"},
    {"scorer": "short-answer"},
    {"scorer": "short-answer", "abstention": "Nowhere said."},
    {"scorer": "exact", "abstention": "Nowhere said.", "output_schema": {"type": "array"}},
    {"scorer": "issue-f1", "output_schema": {"type": "object", "additionalProperties": {"type": "array"}}},
    {"scorer": "issue-f1", "abstention": "Nowhere said."},
]


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS)
def test_what_is_kept_the_stage_validate_passes(
    project: Project, tmp_path: Path, spec: dict[str, Any]
) -> None:
    task = project.root / "tasks/tiny"
    (task / "task.yaml").write_text(yaml.safe_dump(TASK | spec))
    for kind in ("cases", "examples"):
        (task / f"{kind}.jsonl").write_text("")
    project.set(refuse_share=1.0)
    evidence = [[], ["harbour"], ["harbour#tides"], ["harbour#"], ["gone"]]
    draw = random.Random(0)

    def more(number: int) -> dict[str, Any]:
        return {"answerable": number % 2 == 0, "evidence": draw.choice(evidence), "slice": draw.choice("ab")}

    rows = [*enumerate(one for one in REFERENCES for _ in range(4))]
    project.send("tiny/cases/a.jsonl", [case(n, reference=one, **more(n)) for n, one in rows])
    rows = [*enumerate(one for one in SAID for _ in range(4))]
    project.send("tiny/examples/a.jsonl", [example(n, completion=one, **more(n)) for n, one in rows])
    (account,) = project.ingest().accounts
    for counts in account.plan.counts.values():
        assert counts.kept > 3
        assert counts.quarantined > 3
    assert validate_task(load_task(task), tmp_path / "checked").bad_rows == []


@pytest.mark.slow
def test_pages_are_checked_and_keep_what_rows_name(project: Project) -> None:
    project.send("tiny/examples/a.jsonl", [example(10, evidence=["harbour#tides"])])
    project.ingest()
    project.send("tiny/knowledge/harbour.md", "# Harbour\n\n## Currents\n\nStrong.\n")
    project.send("tiny/knowledge/keys.md", f"The token is {TOKEN}.")
    project.send("tiny/knowledge/empty.md", " \n")
    project.send("tiny/knowledge/latin.md", "caf\xe9".encode("latin-1"))
    project.send("tiny/knowledge/fine.md", "# Fine\n")
    project.ingest()
    assert failed(project) == {
        "harbour.md": ["orphans"],
        "keys.md": ["secret"],
        "empty.md": ["length"],
        "latin.md": ["form"],
    }
    project.send("tiny/knowledge/harbour.md.removed", "")
    project.ingest()
    assert failed(project)["harbour.md.removed"] == ["orphans"]
    assert sorted(path.name for path in (project.root / "tasks/tiny/knowledge").iterdir()) == [
        "fine.md",
        "harbour.md",
    ]


@pytest.mark.slow
def test_a_batch_whose_answers_drift_is_refused_as_a_whole_and_one_alike_is_not(project: Project) -> None:
    def batch(first: int, answers: list[str]) -> list[dict]:
        return [example(n, completion=answers[n % len(answers)]) for n in range(first, first + 40)]

    path = project.root / "tasks/tiny/examples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in batch(0, ["yes", "no"])))
    project.set(drift_rows=20)
    project.send("tiny/examples/alike.jsonl", batch(40, ["yes", "no", "no"]))
    (account,) = project.ingest().accounts
    assert account.plan.refused == {}
    assert account.plan.counts["examples"].kept == 40
    project.send("tiny/examples/poisoned.jsonl", batch(80, ["perhaps"]))
    (account,) = project.ingest().accounts
    assert account.plan.refused["examples"].startswith("label_drift: the batch's labels are not distributed")
    assert account.plan.counts["examples"].quarantined == 40
    assert len(project.ids()) == 80


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"use {TOKEN} here", "looks like a secret: github-pat"),
        ("The default of the option is present.", None),
    ],
)
def test_secrets_are_named_by_rule_and_never_repeated(text: str, found: str | None) -> None:
    assert secret_finder("medium")(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to jane.doe@acme.com", "EMAIL"),
        ("call +1 415 555 2671", "PHONE"),
        ("card 4111 1111 1111 1111", "CREDIT_CARD"),
        ("number 078-05-1120", "SSN"),
        ("IBAN DE89370400440532013000", "DE_IBAN"),
        ("the id is 1234567890", None),
        ("on 2026-11-22 at 10:20:30 on port 8080", None),
        ("user@host means nothing", None),
    ],
)
def test_personal_data_is_named_by_kind(text: str, found: str | None) -> None:
    assert personal_finder(KINDS)(text) == (f"looks like personal data: {found}" if found else None)
    assert personal_finder([])(text) is None


def test_another_language_is_told_where_the_text_is_long_enough() -> None:
    find = language_finder(["en"])
    assert find(GERMAN) == "seems to be in another language: de"
    assert find("Nur kurz.") is None
    assert find("The keeper of the northern light writes down when the lamp was lit.") is None
    assert language_finder(["en", "de"])(GERMAN) is None
    assert language_finder([])(GERMAN) is None
