"""The commands ``stepladder up``, ``down`` and ``doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepladder.doctor.finding import Finding
    from stepladder.stack.running import Running


def register(app: typer.Typer) -> None:
    """Add the commands to the command."""
    app.command()(up)
    app.command()(down)
    app.command()(doctor)


def up(
    wait: Annotated[float, typer.Option(min=1, help="longest to wait for all services, seconds")] = 240,
    stay: Annotated[bool, typer.Option("--stay", help="stay until Ctrl-C, which ends the stack")] = False,
) -> None:
    """Start MLflow, Prefect with workers and flows, the inbox's watcher and the gateway, on the loopback."""
    from stepladder.console import say
    from stepladder.stack import up as stack

    running = stack.up(Path(), wait, say)
    _tell(running)
    if not stay:
        return
    try:
        stack.stay(Path(), running)
    finally:
        stack.down(Path(), say)


def down() -> None:
    """End all that `stepladder up` started, and what an earlier one left."""
    from stepladder.console import say
    from stepladder.stack import up as stack

    if not stack.down(Path(), say):
        typer.echo("nothing ran")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Check what commonly goes wrong. Exit code: 0 nothing fails, 1 something does."""
    from stepladder.doctor.run import examine
    from stepladder.settings import load_settings

    findings = examine(Path(), load_settings())
    well = all(finding.state != "fail" for finding in findings)
    if as_json:
        checks = [finding.model_dump() for finding in findings]
        typer.echo(json.dumps({"ok": well, "checks": checks}, indent=2))
    else:
        _print_findings(findings)
    raise typer.Exit(0 if well else 1)


def _print_findings(findings: Sequence[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from stepladder.console import print_table

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("check", "", "found", "what to do", box=None, pad_edge=False)
    for one in findings:
        # As text: an address may hold square brackets, which mark up.
        table.add_row(one.name, Text(one.state, colours[one.state]), Text(one.found), Text(one.remedy))
    print_table(table)


def _tell(running: Running) -> None:
    from rich.table import Table

    from stepladder.console import print_table
    from stepladder.stack.health import address
    from stepladder.stack.place import Place
    from stepladder.stack.services import SERVICES, listed

    place = Place(Path())
    table = Table("service", "address", "log", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for service in [SERVICES[name] for name in listed(place.root)]:
        url = address(service, running.ports) if service.port else ""
        table.add_row(service.title, url, str(place.log(service.name)))
    if running.database == "postgres":
        table.add_row("Postgres", f"127.0.0.1:{running.ports['postgres']}", str(place.log("postgres")))
    print_table(table)
    typer.echo(f"`source {place.environment}` lets this shell speak to them; `stepladder down` ends them")
