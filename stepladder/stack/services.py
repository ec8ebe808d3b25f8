"""What the stack is made of. The commands stand in ``Procfile``, under the same names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stepladder.errors import StepladderError


@dataclass(frozen=True)
class Service:
    """One line of the Procfile.

    ``port`` names the port that it serves on, ``health`` the path there that answers once it is up.
    A worker serves nothing: it is up when Prefect has heard from it in its ``pool``. What has neither cannot
    be asked: it is up when it has not ended at once. ``after`` names what must be up before it is started.
    """

    name: str
    title: str
    port: str = ""
    health: str = ""
    pool: str = ""
    after: tuple[str, ...] = ()


SERVICES = {
    service.name: service
    for service in (
        Service("mlflow", "MLflow", port="mlflow", health="/health"),
        Service("prefect", "Prefect", port="prefect", health="/api/health"),
        Service("worker-cpu", "Prefect worker, pool cpu", pool="cpu", after=("prefect",)),
        Service("worker-gpu", "Prefect worker, pool gpu", pool="gpu", after=("prefect",)),
        Service("gateway", "Gateway", port="gateway", health="/healthz", after=("mlflow",)),
        Service("inbox", "Inbox watcher", after=("prefect", "mlflow")),
    )
}


def listed(root: Path) -> dict[str, str]:
    """The commands of a project's Procfile by the names of their services.

    Raises:
        StepladderError: a name is none of a service.
    """
    from honcho.environ import parse_procfile

    file = root / "Procfile"
    commands: dict[str, str] = parse_procfile(file.read_text(encoding="utf-8")).processes
    if unknown := set(commands) - set(SERVICES):
        raise StepladderError(
            f"no service named {', '.join(sorted(unknown))}",
            where=str(file),
            remedy=f"use {', '.join(SERVICES)}; how each is known to be up stands in stepladder/stack",
        )
    return commands
