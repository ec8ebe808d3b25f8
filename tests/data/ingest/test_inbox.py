from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stepladder.data.ingest.inbox import FolderInbox, RemoteInbox, files_in, kind_of, open_inbox
from stepladder.errors import StepladderError
from stepladder.files import digest_file

NOW = 1_000_000.0


def put(inbox: Path, name: str, written: float, content: str = "x") -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (written, written))
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> FolderInbox:
    return FolderInbox(tmp_path, settle_s=2, clock=lambda: NOW)


def names(inbox: FolderInbox | RemoteInbox) -> list[str]:
    return [one.name for one in inbox.waiting()]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("t/examples/a.jsonl", "examples"),
        ("t/corrections/a.jsonl", "examples"),
        ("t/cases/a.jsonl", "cases"),
        ("t/knowledge/a.md", "knowledge"),
        ("t/knowledge/deep/er/a.md", "knowledge"),
        ("t/knowledge/a.md.removed", "knowledge"),
        ("t/examples/deep/a.jsonl", None),
        ("t/examples/a.json", None),
        ("t/knowledge/a.txt", None),
        ("t/other/a.jsonl", None),
        ("examples/a.jsonl", None),
    ],
)
def test_the_path_says_what_a_file_is(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_files_wait_oldest_first_and_by_name(inbox: FolderInbox, tmp_path: Path) -> None:
    for name, written in (("t/examples/b.jsonl", 5), ("t/examples/c.jsonl", 4), ("t/cases/a.jsonl", 5)):
        put(tmp_path, name, written)
    assert names(inbox) == ["t/examples/c.jsonl", "t/cases/a.jsonl", "t/examples/b.jsonl"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("t/examples/fresh.jsonl", NOW - 1.9),
        ("t/examples/ahead.jsonl", NOW + 1),
        ("t/examples/.hidden.jsonl", 0),
        ("t/.hidden/a.jsonl", 0),
        ("t/examples/a.jsonl.part", 0),
        ("t/examples/a.tmp", 0),
    ],
)
def test_a_file_still_being_written_is_left_alone(
    inbox: FolderInbox, tmp_path: Path, name: str, written: float
) -> None:
    put(tmp_path, name, written)
    assert names(inbox) == []


def test_a_file_is_taken_once_and_keeps_its_place_in_the_order(inbox: FolderInbox, tmp_path: Path) -> None:
    put(tmp_path, "t/examples/b.jsonl", 1)
    put(tmp_path, "t/examples/a.jsonl", 2)
    waiting = inbox.waiting()
    inbox.take(waiting)
    inbox.take(waiting)
    assert names(inbox) == []
    assert [path.name for path in files_in(inbox.taken)] == ["b.jsonl", "a.jsonl"]


def test_a_file_that_grew_after_it_was_seen_is_put_back(inbox: FolderInbox, tmp_path: Path) -> None:
    path = put(tmp_path, "t/examples/a.jsonl", 1)
    waiting = inbox.waiting()
    path.write_text("xy")
    inbox.take(waiting)
    assert path.read_text() == "xy"
    assert files_in(inbox.taken) == []


def test_what_comes_under_the_name_of_a_taken_file_is_another_file(
    inbox: FolderInbox, tmp_path: Path
) -> None:
    put(tmp_path, "t/examples/a.jsonl", 1, "old")
    inbox.take(inbox.waiting())
    put(tmp_path, "t/examples/a.jsonl", 2, "new")
    assert names(inbox) == ["t/examples/a.jsonl"]
    assert (inbox.taken / "t/examples/a.jsonl").read_text() == "old"


def test_a_writers_scratch_folder_may_vanish_meanwhile(
    inbox: FolderInbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "t/examples/a.jsonl", 1)
    put(tmp_path, "t/examples/.b.jsonl.abcdefgh/b.jsonl", 1)
    put(tmp_path, "t/knowledge/deep/a.md", 1)
    scan = os.scandir

    def vanishing(folder: Any) -> Any:
        if not isinstance(folder, int) and Path(folder).name in {".b.jsonl.abcdefgh", "deep"}:
            shutil.rmtree(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert names(inbox) == ["t/examples/a.jsonl"]


def test_an_inbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert FolderInbox(tmp_path / "none", 1).waiting() == []


def test_a_file_that_was_written_on_goes_back_beside_what_came_under_its_name(
    inbox: FolderInbox, tmp_path: Path
) -> None:
    for name in ("t/examples/a.jsonl", "t/examples/b.jsonl", "t/knowledge/a.md"):
        put(tmp_path, name, 1, "old")
    inbox.take(inbox.waiting())
    digests = {name: digest_file(inbox.taken / name) for name in ("t/examples/b.jsonl",)}
    for name in ("t/examples/a.jsonl", "t/knowledge/a.md"):
        put(tmp_path, name, 1, "new")
        digests[name] = "of what was read"
    inbox.let_go("t", digests)
    found = sorted((tmp_path / "t").rglob("*.*"))
    assert [path.read_text() for path in found] == ["old", "new", "new"]
    assert [path.name for path in found if path.suffix == ".jsonl"][1] == "a.jsonl"
    assert files_in(inbox.taken) == []


class TestAtUrl:
    @pytest.fixture
    def seen(self) -> set[tuple[str, str]]:
        return set()

    @pytest.fixture
    def remote(self, tmp_path: Path, seen: set[tuple[str, str]]) -> Iterator[RemoteInbox]:
        inbox = open_inbox("memory://bucket/in", tmp_path, 0, tmp_path / "state", lambda *one: one in seen)
        assert isinstance(inbox, RemoteInbox)
        yield inbox
        inbox._files.rm("/bucket", recursive=True)

    def test_an_objects_version_is_read_once_and_stays(
        self, remote: RemoteInbox, seen: set[tuple[str, str]]
    ) -> None:
        remote.send("t/examples/a.jsonl", b"one")
        (first,) = remote.waiting()
        remote.take([first])
        assert (remote.taken / "t/examples/a.jsonl").read_bytes() == b"one"
        seen.add((first.name, first.version))
        assert remote.waiting() == []
        remote.send("t/examples/a.jsonl", b"three")
        assert [one.name for one in remote.waiting()] == ["t/examples/a.jsonl"]

    def test_an_object_that_is_put_back_to_what_it_was_is_read_again(
        self, remote: RemoteInbox, seen: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As S3 tells it: the ETag is that of the content."""
        path, hour = "/bucket/in/t/knowledge/a.md", datetime(2026, 1, 1, tzinfo=UTC)
        remote.send("t/knowledge/a.md", b"A")
        for number, etag in enumerate(("A", "B", "A")):
            info = {"size": 1, "ETag": etag, "LastModified": hour + timedelta(hours=number)}
            monkeypatch.setattr(remote._files, "find", lambda *_, told=info, **__: {path: told})
            (one,) = remote.waiting()
            seen.add((one.name, one.version))
            assert remote.waiting() == []

    def test_a_hidden_or_unfinished_object_is_left_alone(self, remote: RemoteInbox) -> None:
        remote.send("t/examples/.a.jsonl", b"")
        remote.send("t/examples/a.jsonl.part", b"")
        assert remote.waiting() == []


def test_an_unknown_kind_of_url_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="cannot open this inbox") as caught:
        open_inbox("nonsense://x", tmp_path, 0, tmp_path, lambda *_: False)
    assert caught.value.where == "ingest.inbox nonsense://x"
