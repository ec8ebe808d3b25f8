"""``python -m serving``: serve the promoted releases, and make API keys."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.auth import SCOPES, Scope, create_key, read_keys, revoke_key
from serving.settings import ServingSettings, load_serving_settings
from stepladder.errors import StepladderError
from stepladder.proxies import keep_this_machine_off_proxies

if TYPE_CHECKING:
    from stepladder.stages.workspace import Workspace

app = typer.Typer(help="The gateway.", add_completion=False, pretty_exceptions_enable=False)
keys = typer.Typer(help="API keys: made here, stored as hashes.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    challengers: Annotated[
        bool, typer.Option(help="let the challenger answer for a task without a champion")
    ] = False,
    engine_url: Annotated[
        list[str] | None, typer.Option(help="servers that have the models loaded, instead of starting vLLM")
    ] = None,
) -> None:
    """Serve the champion of every task until interrupted, and follow the registry."""
    if context.invoked_subcommand:
        return
    from stepladder.console import say
    from stepladder.stages.workspace import open_workspace

    settings = load_serving_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not read_keys(settings.keys):
        say("no API key yet: `python -m serving keys create NAME --scope chat --scope feedback` makes one")
    _serve(settings, open_workspace(Path()), challengers=challengers, engine_urls=engine_url or [])


def _serve(
    settings: ServingSettings, workspace: Workspace, *, challengers: bool, engine_urls: list[str]
) -> None:
    import uvicorn

    from serving.app import create_app
    from serving.connections import connection_options
    from serving.loading import Loader
    from serving.reconciler import Reconciler
    from serving.registry import MlflowRegistry
    from serving.router import Router
    from serving.search import SearchProcess
    from stepladder.console import say
    from stepladder.serving_record import RECORD

    tasks, router = workspace.settings.tasks, Router()
    with closing(SearchProcess()) as searches:
        reconciler = Reconciler(
            router,
            tasks,
            MlflowRegistry(workspace.settings.mlflow, tasks, challengers=challengers),
            Loader(workspace, settings.reconcile, searches, engine_urls),
            workspace.scratch / RECORD,
            settings.reconcile,
        )
        say(f"gateway: http://{settings.host}:{settings.port}; `stepladder status` tells what answers")
        uvicorn.run(
            create_app(settings, router, reconciler=reconciler),
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=30,
            **connection_options(settings.limits),
        )
    _end()


def _end() -> None:
    """End without waiting for threads that hang: a download, an inbox that does not answer."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="who uses it")],
    scope: Annotated[list[str], typer.Option(help=f"one or more of {', '.join(SCOPES)}")],
    requests_per_minute: Annotated[int, typer.Option(min=1)] = 600,
) -> None:
    """Make a key and print it, this once."""
    scopes = frozenset[Scope](known for known in SCOPES if known in scope)
    if unknown := set(scope) - scopes:
        raise StepladderError(
            f"no scope named {', '.join(sorted(unknown))}", remedy=f"use {', '.join(SCOPES)}"
        )
    typer.echo(create_key(load_serving_settings().keys, name, scopes, requests_per_minute))


@keys.command("list")
def show() -> None:
    """Tell the keys: id, scopes, rate, name."""
    for key in read_keys(load_serving_settings().keys):
        scopes = ",".join(sorted(key.scopes))
        typer.echo(f"{key.id}  {scopes}  {key.requests_per_minute}/min  {key.created}  {key.name}")


@keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="as `keys list` tells it")]) -> None:
    """Delete a key; a running gateway refuses it within a second."""
    revoke_key(load_serving_settings().keys, key_id)


def main() -> None:
    """Entry point."""
    keep_this_machine_off_proxies()
    try:
        app()
    except StepladderError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
