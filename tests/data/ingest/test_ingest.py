"""What an ingest does with files, without checks and without DVC."""

from __future__ import annotations

import json
import operator
import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.data.ingest import quarantine, steps
from stepladder.data.ingest.run import docs_of, ingest
from stepladder.errors import StepladderError
from tests.data.ingest.conftest import Project, case, commit_all, example, run


def test_an_empty_inbox_changes_nothing(plain_project: Project) -> None:
    done = plain_project.ingest()
    assert (done.accounts, done.strays, done.unsent) == ([], [], [])


def test_files_of_nobody_are_named_and_left(plain_project: Project) -> None:
    for name in ("other/examples/a.jsonl", "tiny/exmples/a.jsonl", "a.jsonl"):
        plain_project.send(name, [example(9)])
    assert sorted(plain_project.ingest().strays) == [
        "a.jsonl",
        "other/examples/a.jsonl",
        "tiny/exmples/a.jsonl",
    ]
    assert (plain_project.root / "inbox/a.jsonl").exists()


def test_the_data_docs_of_the_last_batches_are_kept(
    plain_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepladder.data.ingest.run._DOCS_KEPT", 2)
    monkeypatch.setattr(
        "stepladder.data.ingest.row_plans.run_suites", lambda _, docs: docs.mkdir(parents=True) or []
    )
    batches = []
    for number in (7, 8, 9):
        plain_project.send("tiny/examples/a.jsonl", [example(number)])
        batches.append(plain_project.ingest().accounts[0].plan.batch)
    kept = sorted(path.name for path in docs_of(plain_project.root, "tiny").iterdir())
    assert kept == batches[1:]


def test_rows_are_appended_after_a_last_line_without_a_break(plain_project: Project) -> None:
    path = plain_project.root / "tasks/tiny/examples.jsonl"
    path.write_text(path.read_text().rstrip("\n"))
    plain_project.send("tiny/corrections/a.jsonl", [example(7)])
    plain_project.ingest()
    plain_project.send("tiny/examples/b.jsonl", [example(8), example(7)])
    (account,) = plain_project.ingest().accounts
    assert account.plan.counts["examples"].known == 1
    assert plain_project.ids() == ["e0", "e1", "e2", "e3", "e4", "e7", "e8"]


def test_pages_are_added_changed_and_removed_and_of_two_versions_the_later_stays(
    plain_project: Project,
) -> None:
    plain_project.send("tiny/knowledge/a/new.md", "first")
    plain_project.send("tiny/knowledge/harbour.md", "# Harbour\n")
    plain_project.ingest()
    plain_project.send("tiny/knowledge/a/new.md", "second")
    plain_project.send("tiny/knowledge/harbour.md.removed", "")
    plain_project.send("tiny/knowledge/none.md.removed", "")
    (account,) = plain_project.ingest().accounts
    knowledge = plain_project.root / "tasks/tiny/knowledge"
    assert {path.name: path.read_text() for path in knowledge.rglob("*.md")} == {"new.md": "second"}
    counts = account.plan.counts["knowledge"]
    assert (counts.arrived, counts.kept, counts.known) == (3, 2, 1)
    assert [(one.page, one.change) for one in account.plan.pages] == [
        ("a/new", "changed"),
        ("harbour", "removed"),
    ]
    assert run(plain_project.root, "git", "status", "--porcelain") == ""


def test_a_page_that_is_sent_and_removed_in_one_batch_is_gone_and_one_sent_again_stays(
    plain_project: Project,
) -> None:
    knowledge = plain_project.root / "tasks/tiny/knowledge"
    before = {path.name: path.read_text() for path in knowledge.rglob("*.md")}
    plain_project.send("tiny/knowledge/new.md", "new")
    plain_project.send("tiny/knowledge/new.md.removed", "")
    plain_project.send("tiny/knowledge/harbour.md.removed", "")
    plain_project.send("tiny/knowledge/harbour.md", before["harbour.md"])
    (account,) = plain_project.ingest().accounts
    assert {path.name: path.read_text() for path in knowledge.rglob("*.md")} == before
    counts = account.plan.counts["knowledge"]
    assert (counts.arrived, counts.kept, counts.known) == (4, 4, 0)
    assert account.plan.pages == []
    assert account.commit is None


def test_what_else_is_staged_or_changed_stays_out_of_the_commit(plain_project: Project) -> None:
    (plain_project.root / "staged").write_text("")
    run(plain_project.root, "git", "add", "staged")
    (plain_project.root / "params.yaml").write_text(
        (plain_project.root / "params.yaml").read_text() + "seed: 1\n"
    )
    plain_project.send("tiny/cases/a.jsonl", [case(7)])
    plain_project.ingest()
    changed = run(plain_project.root, "git", "show", "--format=", "--name-only", "HEAD").split()
    assert changed == ["tasks/tiny/cases.jsonl"]
    assert run(plain_project.root, "git", "status", "--porcelain").splitlines() == [
        "M params.yaml",
        "A  staged",
    ]


def test_a_dataset_edited_under_a_batch_in_hand_is_planned_anew(
    plain_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_project.send("tiny/examples/a.jsonl", [example(7), example(8)])
    with monkeypatch.context() as patch:
        patch.setattr("stepladder.data.ingest.steps.change_dataset", _stop)
        with pytest.raises(KeyboardInterrupt):
            plain_project.ingest()
    path = plain_project.root / "tasks/tiny/examples.jsonl"
    path.write_text(path.read_text() + json.dumps(example(8)) + "\n")
    (account,) = plain_project.ingest().accounts
    counts = account.plan.counts["examples"]
    assert (counts.arrived, counts.kept, counts.known) == (2, 1, 1)
    assert plain_project.ids() == ["e0", "e1", "e2", "e3", "e4", "e8", "e7"]


def test_what_a_plan_wrote_in_part_is_recorded_with_the_plan_after_it(
    plain_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_project.send("tiny/cases/a.jsonl", [case(7)])
    plain_project.send("tiny/examples/a.jsonl", [example(8)])
    append = steps._append

    def append_cases_only(path: Path, *arguments: Any) -> None:
        if path.name == "examples.jsonl":
            raise KeyboardInterrupt
        append(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "_append", append_cases_only)
        with pytest.raises(KeyboardInterrupt):
            plain_project.ingest()
    examples = plain_project.root / "tasks/tiny/examples.jsonl"
    examples.write_text(examples.read_text() + json.dumps(example(8)) + "\n")
    (account,) = plain_project.ingest().accounts
    assert account.plan.additions == []
    assert plain_project.ids("cases")[-1] == "c7"
    changed = run(plain_project.root, "git", "show", "--format=", "--name-only", "HEAD").split()
    assert changed == ["tasks/tiny/cases.jsonl", "tasks/tiny/examples.jsonl"]
    assert run(plain_project.root, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize("step", ["make_plan", "steps.record_version"])
def test_what_goes_wrong_with_one_task_stops_no_other(
    plain_project: Project, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    shutil.copytree(plain_project.root / "tasks/tiny", plain_project.root / "tasks/zoo")
    params = yaml.safe_load((plain_project.root / "params.yaml").read_text())
    (plain_project.root / "params.yaml").write_text(yaml.safe_dump({**params, "tasks": ["tiny", "zoo"]}))
    commit_all(plain_project.root)
    for task in ("tiny", "zoo"):
        plain_project.send(f"{task}/examples/a.jsonl", [example(8)])
    *owner, name = ["stepladder.data.ingest.run", *step.split(".")]
    right = operator.attrgetter(step)(import_module("stepladder.data.ingest.run"))

    def fail_for_tiny(first: Any, plan: Any, *more: Any) -> Any:
        if "tiny" in (getattr(plan, "task", ""), getattr(getattr(first, "task", None), "name", "")):
            raise StepladderError("not now")
        return right(first, plan, *more)

    with monkeypatch.context() as patch:
        patch.setattr(".".join([*owner, name]), fail_for_tiny)
        for _ in range(2):  # the second time it is in hand
            with pytest.raises(StepladderError, match="not now"):
                plain_project.ingest()
    assert (
        json.loads((plain_project.root / "tasks/zoo/examples.jsonl").read_text().splitlines()[-1])["id"]
        == "e8"
    )
    assert [account.plan.task for account in plain_project.ingest().accounts] == ["tiny"]
    assert plain_project.ids()[-1] == "e8"
    assert run(plain_project.root, "git", "status", "--porcelain") == ""


def test_a_file_that_is_written_on_while_it_is_in_hand_is_put_back(
    plain_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_project.send("tiny/examples/a.jsonl", [example(7)])
    put = quarantine.put

    with (plain_project.root / "inbox/tiny/examples/a.jsonl").open("a") as slow:

        def put_and_write(*arguments: Any) -> None:
            put(*arguments)
            slow.write(json.dumps(example(8)) + "\n")
            slow.flush()

        with monkeypatch.context() as patch:
            patch.setattr(quarantine, "put", put_and_write)
            plain_project.ingest()
        assert plain_project.ids()[-1] == "e7"
        slow.write(json.dumps(example(9)) + "\n")
    os.utime(plain_project.root / "inbox/tiny/examples/a.jsonl", (1e9, 1e9))
    (account,) = plain_project.ingest().accounts
    counts = account.plan.counts["examples"]
    assert (counts.arrived, counts.kept, counts.known) == (3, 2, 1)
    assert plain_project.ids()[-3:] == ["e7", "e8", "e9"]
    assert not [path for path in (plain_project.root / "inbox").rglob("*") if path.is_file()]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_inbox_at_a_url_is_read_once(plain_project: Project) -> None:
    import fsspec

    plain_project.set(inbox="memory://arrivals")
    files = fsspec.filesystem("memory")
    files.pipe_file("/arrivals/tiny/examples/a.jsonl", json.dumps(example(7)).encode())
    assert plain_project.ingest().accounts[0].plan.counts["examples"].kept == 1
    assert plain_project.ingest().accounts == []
    assert files.exists("/arrivals/tiny/examples/a.jsonl")
    files.rm("/arrivals", recursive=True)


def test_without_git_it_says_what_to_do(tmp_path: Path, plain_project: Project) -> None:
    with pytest.raises(StepladderError, match="no git repository with a commit"):
        ingest(tmp_path, plain_project.settings)
