"""What becomes of the pages of a batch. ``<page>.md.removed`` stands for a page's removal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from stepladder.data.ingest.columns import page_record
from stepladder.data.ingest.decide import decide
from stepladder.data.ingest.expectations import Table, run_suites
from stepladder.data.ingest.hand import Hand
from stepladder.data.ingest.inbox import REMOVED
from stepladder.data.ingest.known import Known
from stepladder.data.ingest.quarantine import page_key
from stepladder.data.ingest.records import Counts, Fault, PageChange
from stepladder.data.ingest.screen import Finders
from stepladder.data.ingest.suites import SUITES


class Sent(NamedTuple):
    """A page or tombstone that came: its name in the inbox, its file, the page, and its bytes or None."""

    name: str
    path: Path
    page: str
    content: bytes | None

    @property
    def file(self) -> str:
        """Its name under the knowledge folder."""
        return f"{self.page}{REMOVED}" if self.content is None else f"{self.page}.md"


@dataclass(frozen=True)
class PagePlan:
    """``contents`` are the pages to write, None those to remove; pages as they will be are in ``text``."""

    counts: Counts
    contents: dict[str, bytes | None]
    changes: list[PageChange]
    held: list[tuple[Sent, list[Fault]]]
    refused: str | None
    warnings: Counter[str]
    folder: Path

    def text(self, page: str) -> str | None:
        """A page as it will be, or None where there will be none."""
        content = self.contents[page] if page in self.contents else _read(self.folder, page)
        return None if content is None else content.decode("utf-8-sig", errors="replace")


def plan_pages(files: Sequence[tuple[Path, str]], hand: Hand, known: Known, find: Finders) -> PagePlan:
    """Check all pages and decide; of several versions of a page the last one that is sound stays.

    Args:
        files: taken files with their names under the inbox, in order.
        hand: the task and the settings.
        known: what cases and examples name as evidence.
        find: secrets, personal data and language.
    """
    folder = hand.task.folder / "knowledge"
    sent = [_sent(path, name) for path, name in files]
    new = _new(sent, folder, hand.held.get("knowledge", set()))
    records = [page_record(one.page, one.content, known, find) for one in new]
    findings = (
        run_suites({"knowledge": Table(records, SUITES["knowledge"])}, hand.docs / "knowledge")
        if records
        else []
    )
    decision = decide(findings, len(new), hand.settings.ingest)
    contents: dict[str, bytes | None] = {
        one.page: one.content for position, one in enumerate(new) if position not in decision.faults
    }
    quarantined = len(decision.faults)
    return PagePlan(
        counts=Counts(
            arrived=len(sent),
            kept=len(new) - quarantined,
            quarantined=quarantined,
            known=len(sent) - len(new),
        ),
        contents=contents,
        changes=_changes(contents, folder),
        held=[(new[position], faults) for position, faults in sorted(decision.faults.items())],
        refused=decision.refused,
        warnings=decision.warnings,
        folder=folder,
    )


def _new(sent: Sequence[Sent], folder: Path, held: Set[str]) -> list[Sent]:
    """What is not known: not held in quarantine, and not what the page says already.

    The page says so only where nothing before it in the batch would make it say something else.
    """
    new: list[Sent] = []
    named: set[str] = set()
    for one in sent:
        if page_key(one.file, one.content or b"") in held:
            continue
        if one.page in named or one.content != _read(folder, one.page):
            named.add(one.page)
            new.append(one)
    return new


def _sent(path: Path, name: str) -> Sent:
    below = PurePosixPath(*PurePosixPath(name).parts[2:]).as_posix()
    if below.endswith(REMOVED):
        return Sent(name, path, below.removesuffix(REMOVED), None)
    return Sent(name, path, below.removesuffix(".md"), path.read_bytes())


def _read(folder: Path, page: str) -> bytes | None:
    path = folder / f"{page}.md"
    return path.read_bytes() if path.is_file() else None


def _changes(contents: Mapping[str, bytes | None], folder: Path) -> list[PageChange]:
    found = []
    for page, content in sorted(contents.items()):
        before = _read(folder, page)
        if content == before:  # it came, and what came after took it back
            continue
        if content is None:
            found.append(PageChange(page=page, change="removed"))
        else:
            found.append(PageChange(page=page, change="added" if before is None else "changed"))
    return found
