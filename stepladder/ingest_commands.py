"""The commands ``stepladder ingest`` and ``stepladder quarantine``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepladder.errors import StepladderError

if TYPE_CHECKING:
    from stepladder.data.ingest.records import Account, Held
    from stepladder.data.ingest.run import Place

AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
TaskName = Annotated[str, typer.Argument(help="a task named in params.yaml")]
Entries = Annotated[list[str], typer.Argument(help="entries as `list` names them, whole batches, or `all`")]

quarantine = typer.Typer(no_args_is_help=True, help="Rows that did not join a dataset, and why.")


def register(app: typer.Typer) -> None:
    """Add the commands to the command."""
    app.command()(ingest)
    app.add_typer(quarantine, name="quarantine")


def ingest(as_json: AsJson = False) -> None:
    """Take what waits in the inbox: check it, add it to the datasets, and record the new versions."""
    from stepladder.console import say
    from stepladder.data.ingest.run import ingest as take
    from stepladder.settings import load_settings

    done = take(Path(), load_settings(), (lambda _: None) if as_json else _tell)
    if as_json:
        accounts = [account.model_dump(mode="json") for account in done.accounts]
        typer.echo(json.dumps({"batches": accounts, "strays": done.strays, "unsent": done.unsent}, indent=2))
    elif not done.accounts:
        typer.echo("nothing new in the inbox")
    for name in done.strays:
        say(f"left in the inbox: {name} (not <task>/examples/*.jsonl, cases/, corrections/ or knowledge/)")
    for fault in done.unsent:
        say(f"{fault}; the next ingest tries again")


@quarantine.command("list")
def list_entries(task: TaskName, as_json: AsJson = False) -> None:
    """What a task's quarantine holds, with the reasons."""
    from stepladder.data.ingest.quarantine import entries

    held = entries(Path("quarantine") / task)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in held], indent=2))
        return
    for one in held:
        typer.echo(f"{one.entry}  from {one.source}")
        for fault in one.faults:
            typer.echo(f"  {fault.check}: {fault.reason}")
    typer.echo(
        f"{len(held)} in quarantine; mend `row` in quarantine/{task}, then `stepladder quarantine retry`"
    )


@quarantine.command()
def retry(task: TaskName, entries: Entries) -> None:
    """Send rows, as they are now, to the inbox again."""
    from stepladder.data.ingest.quarantine import retry as send

    with _place() as place:
        folder = place.quarantine(task)
        chosen = _chosen(folder, entries)
        send(folder, chosen, place.inbox, place.ledger)
    typer.echo(f"{len(chosen)} sent to the inbox; `stepladder ingest` takes them")


@quarantine.command()
def drop(task: TaskName, entries: Entries) -> None:
    """Delete rows for good."""
    from stepladder.data.ingest.quarantine import drop as delete

    with _place() as place:
        folder = place.quarantine(task)
        chosen = _chosen(folder, entries)
        delete(folder, chosen)
    typer.echo(f"{len(chosen)} dropped")


@contextmanager
def _place() -> Iterator[Place]:
    from stepladder.data.ingest.run import is_interrupted, open_place
    from stepladder.settings import load_settings

    with open_place(Path(), load_settings()) as place:
        if is_interrupted(place):
            raise StepladderError(
                "an ingest was interrupted", where=str(place.state), remedy="run `stepladder ingest` first"
            )
        yield place


def _chosen(folder: Path, names: Sequence[str]) -> list[Held]:
    from stepladder.data.ingest.quarantine import entries

    held = entries(folder)
    chosen = [one for one in held if {"all", one.entry, one.entry.split("/")[0]} & set(names)]
    known = {name for one in held for name in (one.entry, one.entry.split("/")[0])} | {"all"}
    if unknown := [name for name in names if name not in known]:
        raise StepladderError(
            f"no such entry: {', '.join(unknown)}",
            where=str(folder),
            remedy=f"`stepladder quarantine list {folder.name}` names them",
        )
    return chosen


def _tell(account: Account) -> None:
    plan = account.plan
    for kind, counts in plan.counts.items():
        typer.echo(f"{plan.task} {kind}: {counts.told}")
    for kind, reason in plan.refused.items():
        typer.echo(f"{plan.task} {kind}: refused: {reason}")
    for check, n in plan.warnings.items():
        typer.echo(f"{plan.task}: warning: {check}, {n} times")
    if any(counts.quarantined for counts in plan.counts.values()):
        typer.echo(f"  in quarantine: stepladder quarantine list {plan.task}")
    if account.commit:
        typer.echo(f"  version: {account.tag}, commit {account.commit[:12]}")
