"""Rows and pages that did not join the dataset, with their reasons, to be mended and sent again.

quarantine/<task>/
  <batch>.<kind>.jsonl       Held rows, one a line: mend ``row`` there
  <batch>.knowledge/*        pages and tombstones that came: mend them there
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepladder.data.ingest.inbox import Inbox
from stepladder.data.ingest.ledger import Ledger
from stepladder.data.ingest.records import KINDS, Held, Plan
from stepladder.errors import StepladderError
from stepladder.files import digest_text, digest_value, read_jsonl, write_jsonl, writing
from stepladder.tasks import explain


def held_key(row: Any) -> str:
    """What a row in quarantine is known by when it comes again."""
    return digest_value(row)


def page_key(name: str, content: bytes) -> str:
    """What a page in quarantine is known by: its file's name and content."""
    return held_key([name, content.hex()])


def put(folder: Path, plan: Plan, drafts: Path, ledger: Ledger) -> None:
    """Put a batch's bad rows into a task's quarantine; again is the same.

    Args:
        folder: the task's quarantine.
        plan: the batch.
        drafts: what the plan wrote: ``<kind>.jsonl`` and ``pages/``.
        ledger: remembers them.
    """
    for kind in KINDS:
        if not (drafts / f"{kind}.jsonl").is_file():
            continue
        if kind == "knowledge":
            with writing(folder / f"{plan.batch}.knowledge") as draft:
                shutil.copytree(drafts / "pages", draft)
        held = _read(drafts / f"{kind}.jsonl")
        write_jsonl(folder / f"{plan.batch}.{kind}.jsonl", (one.model_dump(mode="json") for one in held))
        ledger.hold(plan.task, ((one.entry, kind, _key(one, drafts / "pages")) for one in held))


def entries(folder: Path) -> list[Held]:
    """All that a task's quarantine holds, oldest batch first.

    Raises:
        StepladderError: a file was mended so that it can no longer be read.
    """
    return [one for path in sorted(folder.glob("*.jsonl")) for one in _read(path)]


def retry(folder: Path, chosen: Sequence[Held], inbox: Inbox, ledger: Ledger) -> None:
    """Send rows, as they are now, to the inbox, and take them out of quarantine.

    They are in the inbox before they leave: one killed before that is noted sends them twice, and the second
    time they are known; one killed after it is finished by `finish`.
    """
    for path, some in _by_file(folder, chosen):
        batch, kind = path.name.removesuffix(".jsonl").rsplit(".", 1)
        if kind == "knowledge":
            for one in some:
                content = _page(folder, one).read_bytes()
                inbox.send(f"{folder.name}/knowledge/{one.row}", content)
        else:
            text = "".join(f"{_line(one.row)}\n" for one in some)
            name = f"retry-{batch}-{digest_text(text)[:8]}.jsonl"
            inbox.send(f"{folder.name}/{kind}/{name}", text.encode())
    ledger.release(one.entry for one in chosen)
    finish(folder, ledger)


def finish(folder: Path, ledger: Ledger) -> None:
    """Take out of a task's quarantine what was sent again."""
    sent = ledger.leaving().get(folder.name, set())
    batches = {tuple(entry.split("/")[:2]) for entry in sent}
    files = [folder / f"{batch}.{kind}.jsonl" for batch, kind in sorted(batches)]
    _take_out(folder, [one for file in files if file.is_file() for one in _read(file) if one.entry in sent])
    ledger.left(sent)


def drop(folder: Path, chosen: Sequence[Held]) -> None:
    """Delete rows for good; should they come again they are known, for the ledger goes on holding them."""
    _take_out(folder, chosen)


def _take_out(folder: Path, chosen: Sequence[Held]) -> None:
    for path, some in _by_file(folder, chosen):
        gone = {one.entry for one in some}
        left = [one for one in _read(path) if one.entry not in gone]
        if left:
            write_jsonl(path, (one.model_dump(mode="json") for one in left))
        else:
            path.unlink()
        for one in some:
            if one.kind == "knowledge":
                _page(folder, one).unlink(missing_ok=True)
        if path.name.endswith(".knowledge.jsonl") and not left:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)


def _by_file(folder: Path, chosen: Iterable[Held]) -> Iterator[tuple[Path, list[Held]]]:
    files: dict[Path, list[Held]] = {}
    for one in chosen:
        batch = one.entry.split("/")[0]
        files.setdefault(folder / f"{batch}.{one.kind}.jsonl", []).append(one)
    yield from files.items()


def _page(folder: Path, one: Held) -> Path:
    return folder / f"{one.entry.split('/')[0]}.knowledge" / str(one.row)


def _key(one: Held, pages: Path) -> str:
    if one.kind == "knowledge":
        return page_key(one.row, (pages / one.row).read_bytes())
    return held_key(one.row)


def _line(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)


def _read(path: Path) -> list[Held]:
    found = []
    for number, value in read_jsonl(path):
        try:
            found.append(Held.model_validate(value))
        except ValidationError as error:
            raise StepladderError(
                explain(error), where=f"{path}:{number}", remedy="mend `row` only, and leave the rest"
            ) from error
    return found
