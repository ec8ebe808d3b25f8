"""An ingest end to end: real git, DVC and Great Expectations."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stepladder.data.ingest.run import docs_of
from stepladder.errors import StepladderError
from tests.data.ingest.conftest import Project, case, example, run

pytestmark = pytest.mark.slow


def test_good_rows_join_the_dataset_as_a_version_that_a_clone_can_check_out(project: Project) -> None:
    project.send("tiny/examples/a.jsonl", [example(n) for n in range(3, 8)])
    project.send("tiny/cases/a.jsonl", [case(9)])
    (account,) = project.ingest().accounts
    assert project.ids() == [f"e{n}" for n in range(8)]
    assert project.ids("cases") == ["c0", "c1", "c2", "c9"]
    counts = account.plan.counts["examples"]
    assert (counts.arrived, counts.kept, counts.quarantined, counts.known) == (5, 3, 0, 2)
    assert account.commit == run(project.root, "git", "rev-parse", f"{account.tag}^{{commit}}")
    message = run(project.root, "git", "log", "-1", "--format=%B")
    assert "Update tiny: 1 cases and 3 examples added" in message
    assert "examples: 5 in = 3 kept + 0 quarantined + 2 known" in message
    changed = run(project.root, "git", "show", "--format=", "--name-only", "HEAD").split()
    assert changed == ["tasks/tiny/cases.jsonl", "tasks/tiny/examples.jsonl.dvc"]
    assert run(project.root, "git", "status", "--porcelain") == ""
    clone = project.root.parent / "clone"
    run(project.root.parent, "git", "clone", "-q", str(project.root), str(clone))
    run(clone, sys.executable, "-m", "dvc", "pull", "-q")
    for name in ("examples.jsonl", "cases.jsonl"):
        here = (project.root / "tasks/tiny" / name).read_bytes()
        assert (clone / "tasks/tiny" / name).read_bytes() == here
    (line,) = (project.root / ".ingest/events.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert event["event"] == "dataset.updated"
    assert (event["task"], event["kinds"], event["commit"]) == ("tiny", ["cases", "examples"], account.commit)
    assert event["counts"]["examples"]["kept"] == 3
    assert not [path for path in (project.root / "inbox").rglob("*") if path.is_file()]
    docs = docs_of(project.root, "tiny") / account.plan.batch
    assert "validations" in (docs / "rows/index.html").read_text()


def test_a_file_that_comes_again_changes_nothing(project: Project) -> None:
    rows = [example(7), example(8, completion="mail me at jane.doe@acme.com")]
    project.send("tiny/examples/a.jsonl", rows)
    project.ingest()
    head = run(project.root, "git", "rev-parse", "HEAD")
    project.send("tiny/examples/again.jsonl", rows)
    (account,) = project.ingest().accounts
    assert account.plan.counts["examples"].known == 2
    assert account.commit is None
    assert run(project.root, "git", "rev-parse", "HEAD") == head
    assert len(list((project.root / "quarantine/tiny").iterdir())) == 1


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write(json.dumps(example(6)) + "\n")


@pytest.mark.parametrize(
    ("part", "change", "told", "mend"),
    [
        ("examples.jsonl", Path.unlink, r"examples.jsonl \(deleted\)", "checkout"),
        ("knowledge", shutil.rmtree, r"knowledge \(deleted\)", "checkout"),
        ("examples.jsonl", append, r"examples.jsonl \(modified\)", "add"),
    ],
)
def test_data_that_is_not_there_as_recorded_is_not_taken_for_the_dataset(
    *, project: Project, part: str, change: Callable[[Path], None], told: str, mend: str
) -> None:
    path = project.root / "tasks/tiny" / part
    head = run(project.root, "git", "rev-parse", "HEAD")
    change(path)
    project.send("tiny/examples/a.jsonl", [example(8)])
    project.send("tiny/knowledge/reef.md", "# Reef\n")
    with pytest.raises(StepladderError, match=told):
        project.ingest()
    assert run(project.root, "git", "rev-parse", "HEAD") == head
    assert len([one for one in (project.root / "inbox").rglob("*") if one.is_file()]) == 2
    target = f"{path}.dvc" if mend == "checkout" else str(path)
    run(project.root, sys.executable, "-m", "dvc", mend, "-q", target)
    assert len(project.ingest().accounts) == 1
    assert project.ids() == [f"e{n}" for n in (0, 1, 2, 3, 4, *([6] if mend == "add" else []), 8)]
    pages = {one.name for one in (project.root / "tasks/tiny/knowledge").iterdir()}
    assert pages == {"harbour.md", "reef.md"}


def test_a_batch_in_hand_is_gone_on_with_though_it_has_changed_the_dataset(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.send("tiny/examples/a.jsonl", [example(8)])
    with monkeypatch.context() as patch:
        patch.setattr("stepladder.data.ingest.quarantine.put", stop)
        with pytest.raises(KeyboardInterrupt):
            project.ingest()
    assert len(project.ingest().accounts) == 1
    assert project.ids()[-1] == "e8"


def stop(*_: object) -> None:
    raise KeyboardInterrupt
