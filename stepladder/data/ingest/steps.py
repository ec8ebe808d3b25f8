"""Carry a plan out. Each step may be run again, whole or in part done before, and changes nothing then."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stepladder.data.ingest import events, versions
from stepladder.data.ingest.known import Known
from stepladder.data.ingest.ledger import Ledger
from stepladder.data.ingest.records import KINDS, Account, Addition, DatasetUpdated, Kind, Plan
from stepladder.files import digest_file, sweep, writing

_NAMESPACE = uuid.UUID("6f0f1c9e-5f0a-4f6e-9d3e-3f1f5b1f7a10")


class ChangedUnderneathError(Exception):
    """The dataset is neither what the plan was made for nor what it leads to: plan again."""


def change_dataset(task: Path, plan: Plan, kept: Path) -> None:
    """Append the rows and write the pages of a plan.

    Raises:
        ChangedUnderneathError: a file of rows was changed by someone else; nothing more was written.
    """
    for addition in plan.additions:
        _append(task / f"{addition.kind}.jsonl", addition, kept / f"{addition.kind}.jsonl")
    for change in plan.pages:
        page = task / "knowledge" / f"{change.page}.md"
        sweep(page, alone=True)
        if change.change == "removed":
            page.unlink(missing_ok=True)
        else:
            with writing(page) as draft:
                shutil.copyfile(kept / "knowledge" / f"{change.page}.md", draft)


def _append(path: Path, addition: Addition, added: Path) -> None:
    sweep(path, alone=True)
    current = _digest(path)
    if current == addition.after:
        return
    if current != addition.before:
        raise ChangedUnderneathError(path)
    with writing(path) as draft:
        if path.exists():
            shutil.copyfile(path, draft)
        with draft.open("ab") as whole, added.open("rb") as more:
            shutil.copyfileobj(more, whole)


def rewritten(task: Path, plan: Plan) -> list[Kind]:
    """The files of rows that are another than before the plan: its rows may be among theirs."""
    current = {one.kind: _digest(task / f"{one.kind}.jsonl") for one in plan.additions}
    changed = [one.kind for one in plan.additions if current[one.kind] not in {"", one.before}]
    return [kind for kind in KINDS if kind in {*plan.rewritten, *changed}]


def take_in(known: Known, plan: Plan, kept: Path) -> None:
    """Bring the index of what is known up to date; one that is of another file is made anew later."""
    import numpy as np

    for addition in plan.additions:
        if known.digest(addition.kind) == addition.before:
            bands = np.load(kept / f"{addition.kind}.npy")
            rows = kept / f"{addition.kind}.jsonl"
            known.append(addition.kind, rows, addition.start, bands, addition.after)


def record_version(root: Path, plan: Plan) -> Account:
    """Store, commit and tag the new version, if the plan changed anything.

    Raises:
        StepladderError: DVC or git failed.
    """
    if not plan.changed:
        return Account(plan=plan, commit=None, tag=None)
    paths = list(_paths(plan))
    versions.store(root, paths)
    name = f"data/{plan.task}/{plan.batch}"
    commit = versions.commit(root, paths, message(plan), plan.batch)
    versions.tag(root, name, commit)
    return Account(plan=plan, commit=commit, tag=name)


def close(state: Path, account: Account, ledger: Ledger) -> None:
    """Log the event, and write the batch down."""
    event = event_of(account)
    if event:
        events.log_event(state / "events.jsonl", event)
    ledger.record(account, event)


def announce(ledger: Ledger) -> list[str]:
    """Send the events that were not sent yet, in order; why one could not be, if so.

    Where no Prefect is named, the last one of each task waits for an ingest that knows one.
    """
    if not events.has_receiver():
        ledger.keep_last_unannounced()
        return []
    for event in ledger.unannounced():
        if fault := events.send_event(event):
            return [fault]
        ledger.announced(event)
    return []


def message(plan: Plan) -> str:
    """The commit's message: what arrived, and what became of it."""
    counts = plan.counts
    grown = [f"{counts[one.kind].kept} {one.kind}" for one in plan.additions]
    changed = Counter(one.change for one in plan.pages)
    pages = [f"{n} {'page' if n == 1 else 'pages'} {change}" for change, n in sorted(changed.items())]
    said = "; ".join([*([f"{' and '.join(grown)} added"] if grown else []), *pages])
    said = said or "record rows that were added before"
    lines = [f"{kind}: {one.told}" for kind, one in counts.items()]
    files = [f"- {one.name} (sha256 {one.digest[:12]})" for one in plan.files[:20]]
    more = [f"- and {len(plan.files) - 20} more"] if len(plan.files) > 20 else []
    return "\n".join([f"Update {plan.task}: {said}", "", *lines, "", *files, *more])


def event_of(account: Account) -> DatasetUpdated | None:
    """The event of a batch, or None where it changed nothing."""
    plan = account.plan
    if account.commit is None or account.tag is None:
        return None
    return DatasetUpdated(
        id=str(uuid.uuid5(_NAMESPACE, plan.batch)),
        occurred=plan.occurred,
        task=plan.task,
        kinds=plan.changed,
        commit=account.commit,
        tag=account.tag,
        counts=plan.counts,
    )


def _digest(path: Path) -> str:
    return digest_file(path) if path.exists() else ""


def _paths(plan: Plan) -> Iterator[str]:
    for kind in plan.changed:
        yield f"tasks/{plan.task}/{kind if kind == 'knowledge' else f'{kind}.jsonl'}"
