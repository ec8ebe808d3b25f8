"""The commands ``stepladder up`` and ``stepladder down``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepladder.stack.running import Running


def register(app: typer.Typer) -> None:
    """Add the commands to the command."""
    app.command()(up)
    app.command()(down)


def up(
    wait: Annotated[float, typer.Option(min=1, help="longest to wait for all services, seconds")] = 240,
    stay: Annotated[bool, typer.Option("--stay", help="stay until Ctrl-C, which ends the stack")] = False,
) -> None:
    """Start MLflow, Prefect with its workers, and the gateway, on this machine's loopback."""
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


def _tell(running: Running) -> None:
    from rich.console import Console
    from rich.table import Table

    from stepladder.stack.place import Place
    from stepladder.stack.services import SERVICES
    from stepladder.stack.up import pages

    place = Place(Path())
    addresses = {service.name: url for service, url in pages(running)}
    table = Table("service", "address", "log", box=None, pad_edge=False)
    for service in SERVICES.values():
        table.add_row(service.title, addresses.get(service.name, ""), str(place.log(service.name)))
    if running.database == "postgres":
        table.add_row("Postgres", f"127.0.0.1:{running.ports['postgres']}", str(place.log("postgres")))
    Console(highlight=False).print(table)
    typer.echo(f"`source {place.environment}` lets this shell speak to them; `stepladder down` ends them")
