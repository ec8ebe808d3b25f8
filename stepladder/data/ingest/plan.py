"""Decide what becomes of the files in hand, and write it down.

plan/
  plan.json              Plan
  kept/<kind>.jsonl      lines to append; kept/<kind>.npy: the bands of their turns
  kept/knowledge/*.md    pages to write
  held/<kind>.jsonl      Held rows; held/pages/*: the pages and tombstones among them
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stepladder.data.ingest.columns import Surroundings
from stepladder.data.ingest.fill import RowKind
from stepladder.data.ingest.hand import Hand
from stepladder.data.ingest.inbox import files_in, kind_of
from stepladder.data.ingest.known import Known
from stepladder.data.ingest.pages import PagePlan, plan_pages
from stepladder.data.ingest.records import KINDS, Addition, Delivered, Fault, Held, Kind, Plan
from stepladder.data.ingest.row_plans import ROW_KINDS, RowPlan, plan_rows
from stepladder.data.ingest.rows import arrived_rows, as_sent, line_of
from stepladder.data.ingest.screen import finders
from stepladder.files import digest_file, write_json, write_jsonl

_BLOCK = 1 << 20


def make_plan(hand: Hand, known: Known, draft: Path) -> Plan:
    """Decide, and write the plan with all that it needs into the folder ``draft``.

    Raises:
        StepladderError: the dataset has a malformed row, or an expectation could not be checked.
    """
    moment = datetime.now(UTC)
    batch = f"{moment:%Y%m%dT%H%M%S.%fZ}"
    hand = replace(hand, docs=hand.docs / batch)
    for kind in ROW_KINDS:
        known.refresh(kind)
    names = {path: path.relative_to(hand.taken).as_posix() for path in files_in(hand.taken / hand.task.name)}
    # Before they are read: what is written into one from now on is seen at the end by its digest.
    digests = {name: digest_file(path) for path, name in names.items()}
    files = {kind: [(path, name) for path, name in names.items() if kind_of(name) == kind] for kind in KINDS}
    pages = plan_pages(files["knowledge"], hand, known, finders(hand.settings.ingest))
    arrived = {
        kind: [row for path, name in files[kind] for row in arrived_rows(path, name, kind)]
        for kind in ROW_KINDS
    }
    around = Surroundings(hand.task, known, pages.text, hand.settings)
    rows = plan_rows(arrived, around, hand.held, hand.docs / "rows")
    outcomes: dict[Kind, PagePlan | RowPlan] = {
        "knowledge": pages,
        "cases": rows["cases"],
        "examples": rows["examples"],
    }
    lines = Counter(row.source.rpartition(":")[0] for some in arrived.values() for row in some)
    delivered = [
        Delivered(
            name=name,
            digest=digest,
            rows=1 if kind_of(name) == "knowledge" else lines[name],
            version=hand.versions.get(name),
        )
        for name, digest in digests.items()
    ]
    plan = Plan(
        batch=batch,
        task=hand.task.name,
        occurred=moment.isoformat(timespec="seconds"),
        files=delivered,
        counts={kind: one.counts for kind, one in outcomes.items() if one.counts.arrived},
        pages=pages.changes,
        additions=[_write_rows(draft, known, kind, one) for kind, one in rows.items() if one.kept],
        refused={kind: one.refused for kind, one in outcomes.items() if one.refused},
        warnings=dict(sum((one.warnings for one in outcomes.values()), Counter())),
        rewritten=list(hand.rewritten),
    )
    _write_pages(draft, pages)
    _write_held(draft, plan.batch, pages, rows)
    write_json(draft / "plan.json", plan.model_dump(mode="json"))
    return plan


def _write_rows(draft: Path, known: Known, kind: RowKind, plan: RowPlan) -> Addition:
    """Write the lines that join a file, and say what the file will be."""
    import numpy as np

    current = known.file(kind)
    added = draft / "kept" / f"{kind}.jsonl"
    added.parent.mkdir(parents=True, exist_ok=True)
    whole = hashlib.sha256()
    size = 0
    last = b"\n"
    if current.exists():
        with current.open("rb") as file:
            while block := file.read(_BLOCK):
                whole.update(block)
                size += len(block)
                last = block[-1:]
    content = b"" if last == b"\n" else b"\n"
    content += "".join(line_of(row) for row in plan.kept).encode()
    added.write_bytes(content)
    np.save(draft / "kept" / f"{kind}.npy", plan.bands)
    before = known.digest(kind)
    whole.update(content)
    return Addition(kind=kind, before=before, after=whole.hexdigest(), start=size)


def _write_pages(draft: Path, plan: PagePlan) -> None:
    for page, content in plan.contents.items():
        if content is not None:
            _write(draft / "kept" / "knowledge" / f"{page}.md", content)


def _write_held(draft: Path, batch: str, pages: PagePlan, rows: Mapping[RowKind, RowPlan]) -> None:
    held: dict[Kind, list[tuple[str, list[Fault], Any]]] = {
        "knowledge": [(sent.name, faults, sent.file) for sent, faults in pages.held],
        **{
            kind: [(line.source, faults, as_sent(line.raw)) for line, faults in one.held]
            for kind, one in rows.items()
        },
    }
    for kind, some in held.items():
        entries = [
            Held(entry=f"{batch}/{kind}/{number}", kind=kind, source=source, faults=faults, row=row)
            for number, (source, faults, row) in enumerate(some, 1)
        ]
        if entries:
            (draft / "held").mkdir(parents=True, exist_ok=True)
            write_jsonl(draft / "held" / f"{kind}.jsonl", (one.model_dump(mode="json") for one in entries))
    for sent, _ in pages.held:
        _write(draft / "held" / "pages" / sent.file, sent.content or b"")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
