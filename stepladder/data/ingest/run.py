"""Take what waits in the inbox, one batch a task, under a lock; go on with a batch that was interrupted.

.ingest/                 to be kept: it is what makes an ingest safe to kill
  lock                   one ingest at a time
  ledger.sqlite          what came and what became of it
  events.jsonl           the events
  plans/<task>/          the plan of a task's batch in hand, from when it is decided until it is carried out
The files in hand lie in the inbox's ``.taken`` (of a URL: in ``.ingest/taken``) until the very end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stepladder.data.ingest import quarantine, steps
from stepladder.data.ingest.hand import Hand
from stepladder.data.ingest.inbox import Delivery, Inbox, files_in, kind_of, open_inbox
from stepladder.data.ingest.known import Known
from stepladder.data.ingest.ledger import Ledger
from stepladder.data.ingest.plan import make_plan
from stepladder.data.ingest.records import Account, Kind, Plan
from stepladder.data.ingest.versions import require_checked_out, require_repository
from stepladder.errors import StepladderError, raise_failed
from stepladder.files import read_json, sweep, writing
from stepladder.settings import Settings
from stepladder.tasks import load_task

_LOCK_WAIT_S = 600.0
_DOCS_KEPT = 20  # batches whose Data Docs are kept


@dataclass(frozen=True)
class Ingested:
    """The batches carried out, names of files that were left in the inbox, and events that wait."""

    accounts: list[Account]
    strays: list[str]
    unsent: list[str]


@dataclass(frozen=True)
class Place:
    """Where an ingest works."""

    root: Path
    settings: Settings
    inbox: Inbox
    ledger: Ledger

    @property
    def state(self) -> Path:
        """What must survive."""
        return self.root / ".ingest"

    @property
    def plans(self) -> Path:
        """The plans of the batches in hand."""
        return self.state / "plans"

    def plan(self, task: str) -> Path:
        """The plan of a task's batch in hand."""
        return self.plans / task

    def quarantine(self, task: str) -> Path:
        """A task's quarantine."""
        return self.root / "quarantine" / task

    def known(self, task: str) -> Known:
        """The index of a task's dataset."""
        return Known(self.root / ".stepladder" / "known", self.root / "tasks" / task)


@contextmanager
def open_place(root: Path, settings: Settings) -> Iterator[Place]:
    """The place of a project, held alone.

    Raises:
        StepladderError: another ingest held it for ten minutes.
    """
    from filelock import FileLock, Timeout

    state = root / ".ingest"
    state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(state / "lock", timeout=_LOCK_WAIT_S), Ledger(state / "ledger.sqlite") as ledger:
            inbox = open_inbox(settings.ingest.inbox, root, settings.ingest.settle_s, state, ledger.seen)
            place = Place(root, settings, inbox, ledger)
            for task in ledger.leaving():
                quarantine.finish(place.quarantine(task), ledger)
            yield place
    except Timeout as error:
        raise StepladderError(
            "another ingest is at work", where=str(state / "lock"), remedy="wait until it has ended"
        ) from error


def read_accounts(root: Path) -> list[Account]:
    """All batches, in the order in which they were carried out; an ingest at work is not waited for."""
    with Ledger(root / ".ingest" / "ledger.sqlite") as ledger:
        return ledger.accounts()


def ingest(root: Path, settings: Settings, tell: Callable[[Account], None] = lambda _: None) -> Ingested:
    """Take all that waits. What goes wrong with one task stops no other.

    Args:
        root: the project.
        settings: its parameters.
        tell: called with each batch as it is done.

    Raises:
        StepladderError: a task, the dataset, DVC or git is not as it must be. What was taken stays in
            hand, and the next ingest goes on with it.
    """
    require_repository(root)
    done = Ingested([], [], [])
    failed: dict[str, Exception] = {}
    with open_place(root, settings) as place:

        def note(task: str, batches: Iterator[Account]) -> None:
            try:
                for account in batches:
                    done.accounts.append(account)
                    tell(account)
            except Exception as error:  # raised below, when the other tasks have had their turn
                failed[task] = error

        for task in _tasks_in_hand(place):
            note(task, _resume(place, task))
        waiting = place.inbox.waiting()
        mine = [one for one in waiting if one.task in settings.tasks and kind_of(one.name)]
        for task in dict.fromkeys(one.task for one in mine if one.task not in failed):
            note(task, _run_batch(place, task, [one for one in mine if one.task == task]))
        done.strays.extend(one.name for one in waiting if one not in mine)
        done.unsent.extend(steps.announce(place.ledger))
    raise_failed(failed)
    return done


def docs_of(root: Path, task: str) -> Path:
    """Where a task's Data Docs lie: ``<batch>/rows`` and ``<batch>/knowledge``, of the last batches."""
    return root / "build" / "arrived" / task


def is_interrupted(place: Place) -> bool:
    """Whether a batch is in hand that no process carries out."""
    return bool(_tasks_in_hand(place))


def _tasks_in_hand(place: Place) -> list[str]:
    planned = {path.name for path in place.plans.glob("*") if not path.name.startswith(".")}
    return sorted(planned | {folder.name for folder in place.inbox.taken.glob("*") if files_in(folder)})


def _resume(place: Place, task: str) -> Iterator[Account]:
    """Go on with what an ingest that was killed had in hand."""
    sweep(place.plan(task), alone=True)
    if place.plan(task).is_dir():
        yield _carry_out(place, _read_plan(place, task))
    folder = place.inbox.taken / task
    if not place.inbox.keeps and files_in(folder):
        require_checked_out(place.root, task)
        yield _carry_out(place, _decide(place, task, {}))
    shutil.rmtree(folder, ignore_errors=True)


def _run_batch(place: Place, task: str, deliveries: list[Delivery]) -> Iterator[Account]:
    require_checked_out(place.root, task)
    place.inbox.take(deliveries)
    versions = {one.name: one.version for one in deliveries}
    yield _carry_out(place, _decide(place, task, versions))


def _decide(place: Place, task: str, versions: dict[str, str], rewritten: Sequence[Kind] = ()) -> Plan:
    hand = Hand(
        task=load_task(place.root / "tasks" / task, rows=False),
        settings=place.settings,
        taken=place.inbox.taken,
        docs=docs_of(place.root, task),
        versions=versions,
        held=place.ledger.held(task),
        rewritten=rewritten,
    )
    with place.known(task) as known, writing(place.plan(task)) as draft:
        draft.mkdir()
        plan = make_plan(hand, known, draft)
    # Batches are named by their time.
    for old in sorted(hand.docs.glob("*"))[:-_DOCS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return plan


def _carry_out(place: Place, plan: Plan) -> Account:
    """The steps of a batch, in order; each may have been done before."""
    if place.ledger.account(plan.batch):
        return _let_go(place, plan)
    task = place.root / "tasks" / plan.task
    try:
        steps.change_dataset(task, plan, place.plan(plan.task) / "kept")
    except steps.ChangedUnderneathError:
        versions = {one.name: one.version for one in plan.files if one.version}
        return _carry_out(place, _decide(place, plan.task, versions, steps.rewritten(task, plan)))
    quarantine.put(place.quarantine(plan.task), plan, place.plan(plan.task) / "held", place.ledger)
    with place.known(plan.task) as known:
        steps.take_in(known, plan, place.plan(plan.task) / "kept")
    account = steps.record_version(place.root, plan)
    steps.close(place.state, account, place.ledger)
    return _let_go(place, plan)


def _let_go(place: Place, plan: Plan) -> Account:
    """Delete what was in hand; the files first, for while the plan is there, it is known what they became."""
    account = place.ledger.account(plan.batch)
    assert account is not None
    place.inbox.let_go(plan.task, {one.name: one.digest for one in plan.files})
    done = place.state / "done"
    shutil.rmtree(done, ignore_errors=True)
    place.plan(plan.task).rename(done)
    shutil.rmtree(done)
    return account


def _read_plan(place: Place, task: str) -> Plan:
    path = place.plan(task) / "plan.json"
    try:
        return Plan.model_validate(read_json(path))
    except ValidationError as error:
        raise StepladderError(
            f"the plan of the batch in hand is damaged: {error}",
            where=str(path),
            remedy=f"delete {place.plan(task)}: the files in hand are still there, and are planned anew",
        ) from error
