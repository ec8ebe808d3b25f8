"""What the stack is made of. The commands stand in ``Procfile``, under the same names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """One line of the Procfile.

    ``port`` names the port that it serves on, ``health`` the path there that answers once it is up.
    A worker serves nothing: it is up when Prefect has heard from it in its ``pool``.
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
    )
}
