"""An ingest killed at any point, and gone on with: every row is there once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stepladder.data.ingest import events, versions
from stepladder.data.ingest.ledger import Ledger
from tests.data.ingest.conftest import Project, case, commit_all, example, make_project, run, without_checks

_STORE = versions.store

# Before each of these an ingest is killed: all that it does to files, and each command that it starts.
_DEEDS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "subprocess.Popen", "sqlite3.connect"}


def fill(root: Path) -> Project:
    """A project whose inbox holds something of every kind."""
    make_project(root)
    commit_all(root)
    project = Project(root)
    conflict = example(2, id="other", completion="Elsewhere.")
    project.send("tiny/examples/a.jsonl", [example(4), example(5), conflict, example(6)])
    project.send("tiny/examples/b.jsonl", [example(6), example(7)])
    project.send("tiny/cases/a.jsonl", [case(8)])
    project.send("tiny/knowledge/coast.md", "# Coast\n")
    project.send("tiny/knowledge/harbour.md", "# Harbour\n\nChanged.\n")
    project.send("tiny/knowledge/gone.md.removed", "")
    return project


def ingest_in_child(
    root: Path,
    kill_at: int | None = None,
    kill_before: tuple[str, str] | None = None,
    prepare: Callable[[pytest.MonkeyPatch], None] = without_checks,
) -> tuple[bool, int]:
    """Ingest in a forked process, which is killed: whether it was, and its deeds.

    It is killed before deed number ``kill_at``, or before a command that holds these two words.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        deeds = 0

        def hook(name: str, arguments: Any) -> None:
            nonlocal deeds
            writes = name == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wa+")
            if name in _DEEDS or writes:
                words = list(map(str, arguments[1])) if name == "subprocess.Popen" else []
                if deeds == kill_at or (kill_before and set(kill_before) <= set(words)):
                    os.kill(os.getpid(), signal.SIGKILL)
                deeds += 1

        code = 1
        try:
            patch = pytest.MonkeyPatch()
            prepare(patch)
            sys.addaudithook(hook)
            Project(root).ingest()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os.write(writing, str(deeds).encode())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        deeds_told = told.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True, 0
    assert os.WEXITSTATUS(status) == 0
    return False, int(deeds_told)


def facts(root: Path) -> dict[str, Any]:
    """All that must be the same however often an ingest was killed."""
    task = root / "tasks/tiny"
    with Ledger(root / ".ingest/ledger.sqlite") as ledger:
        accounts = ledger.accounts()
    arrived = Counter()
    for account in accounts:
        for kind, counts in account.plan.counts.items():
            arrived[kind, "kept"] += counts.kept
            arrived[kind, "quarantined"] += counts.quarantined
    commits = run(root, "git", "log", "--format=%s").splitlines()
    events = (root / ".ingest/events.jsonl").read_text().splitlines()
    return {
        "examples": (task / "examples.jsonl").read_text(),
        "cases": (task / "cases.jsonl").read_text(),
        "pages": {path.name: path.read_text() for path in (task / "knowledge").rglob("*.md")},
        "accounts": arrived,
        # Killed while it takes files, an ingest makes one version of those taken and one of the rest.
        "versions": {
            "tags": len(run(root, "git", "tag").splitlines()) - len(commits) + 1,
            "events": len({json.loads(line)["id"] for line in events}) - len(commits) + 1,
            "event lines": len(events) - len(commits) + 1,
        },
        "left": [path for path in (root / "inbox").rglob("*") if path.is_file()],
        "plans": list((root / ".ingest/plans").iterdir()),
        "dirty": run(root, "git", "status", "--porcelain"),
    }


@pytest.mark.slow
def test_killed_before_any_of_its_deeds_it_neither_loses_nor_doubles_a_row(tmp_path: Path) -> None:
    import filelock  # noqa: F401  loaded before forking: each child would load it again
    import numpy as np  # noqa: F401

    fill(tmp_path / "template")
    shutil.copytree(tmp_path / "template", tmp_path / "whole")
    killed, deeds = ingest_in_child(tmp_path / "whole", None)
    assert not killed
    assert deeds > 40
    whole = facts(tmp_path / "whole")
    assert Counter(json.loads(line)["id"] for line in whole["examples"].splitlines()) == Counter(
        [*(f"e{n}" for n in range(8)), "other"]
    )
    assert set(whole["versions"].values()) == {0}
    assert len(run(tmp_path / "whole", "git", "tag").splitlines()) == 1
    for deed in range(deeds):
        root = tmp_path / f"killed-{deed}"
        shutil.copytree(tmp_path / "template", root)
        assert ingest_in_child(root, deed)[0], deed
        again, _ = ingest_in_child(root, None)
        assert not again
        assert facts(root) == whole, f"killed before deed {deed}"
        shutil.rmtree(root)


@pytest.mark.slow
def test_killed_again_and_again_it_comes_to_the_same_end(tmp_path: Path) -> None:
    fill(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "project")
    ingest_in_child(tmp_path / "whole", None)
    step = 9
    while ingest_in_child(tmp_path / "project", step)[0]:
        step += 5
    assert facts(tmp_path / "project") == facts(tmp_path / "whole")


def with_dvc(patch: pytest.MonkeyPatch) -> None:
    """No checks, but real versions."""
    without_checks(patch)
    patch.setattr(versions, "store", _STORE)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("dvc", "add"), ("dvc", "push"), ("git", "commit"), ("git", "tag")])
def test_killed_around_its_version_it_records_one_that_is_whole(
    project: Project, command: tuple[str, str]
) -> None:
    before = run(project.root, "git", "log", "--format=%H").splitlines()
    project.send("tiny/examples/a.jsonl", [example(8)])
    assert ingest_in_child(project.root, kill_before=command, prepare=with_dvc)[0]
    assert not ingest_in_child(project.root, prepare=with_dvc)[0]
    assert project.ids() == [*(f"e{n}" for n in range(5)), "e8"]
    made = run(project.root, "git", "log", "--format=%H").splitlines()
    assert made[1:] == before
    (tag,) = run(project.root, "git", "tag", "--list", "data/*").splitlines()
    assert run(project.root, "git", "rev-parse", f"{tag}^{{commit}}") == made[0]
    assert run(project.root, "git", "status", "--porcelain") == ""
    md5 = hashlib.md5((project.root / "tasks/tiny/examples.jsonl").read_bytes()).hexdigest()
    assert md5 in run(project.root, "git", "show", f"{tag}:tasks/tiny/examples.jsonl.dvc")
    assert (project.root.parent / "store/files/md5" / md5[:2] / md5[2:]).is_file()
    assert len((project.root / ".ingest/events.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("is_sent", [False, True])
def test_killed_around_its_event_it_sends_it_again_under_the_same_id(
    plain_project: Project, tmp_path: Path, *, is_sent: bool
) -> None:
    """Whoever hears an event twice knows it by its id."""
    heard = tmp_path / "heard"

    def post(event: dict[str, Any]) -> None:
        with heard.open("a") as file:
            file.write(f"{event['id']}\n")

    def dying(event: dict[str, Any]) -> None:
        if is_sent:
            post(event)
        os.kill(os.getpid(), signal.SIGKILL)

    def prepare(patch: pytest.MonkeyPatch, send: Callable[[dict[str, Any]], None]) -> None:
        without_checks(patch)
        patch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
        patch.setattr(events, "post", send)

    plain_project.send("tiny/examples/a.jsonl", [example(8)])
    assert ingest_in_child(plain_project.root, prepare=partial(prepare, send=dying))[0]
    for _ in range(2):
        assert not ingest_in_child(plain_project.root, prepare=partial(prepare, send=post))[0]
    ids = heard.read_text().split()
    assert len(ids) == 1 + is_sent
    assert len(set(ids)) == 1


def test_two_at_once_take_each_row_once(tmp_path: Path) -> None:
    root = tmp_path / "project"
    fill(root)
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                without_checks(pytest.MonkeyPatch())
                Project(root).ingest()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    found = facts(root)
    assert (
        Counter(json.loads(line)["id"] for line in found["examples"].splitlines()).most_common(1)[0][1] == 1
    )
    assert set(found["versions"].values()) == {0}
