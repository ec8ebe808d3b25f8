"""Ports, the tracking and the orchestration server, and the clock."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path

import httpx

from stepladder.doctor.finding import Finding, fail, ok, warn
from stepladder.failures import without_password
from stepladder.settings import Settings
from stepladder.stack.database import may_be_postgres
from stepladder.stack.health import prefect_api
from stepladder.stack.ports import holder, is_free, of_use, read_ports, variable
from stepladder.stack.running import Running

_TIMEOUT_S = 3.0
_MOST_SKEW_S = 5.0


def check_ports(root: Path, running: Running | None) -> Finding:
    """The stack's ports are free, or its own."""
    if running and running.lives:
        return ok(
            "ports",
            ", ".join(f"{name} {port}" for name, port in running.ports.items()) + ", in use by the stack",
        )
    ports = of_use(read_ports(root), postgres=may_be_postgres())
    taken = {name: port for name, port in ports.items() if not is_free(port)}
    if taken:
        found = "; ".join(f"{port} ({name}) by {holder(port)}" for name, port in taken.items())
        return fail("ports", f"taken: {found}", f"end that process, or set {', '.join(map(variable, taken))}")
    return ok("ports", ", ".join(f"{name} {port}" for name, port in ports.items()) + " are free")


def check_mlflow(root: Path, settings: Settings, running: Running | None) -> Finding:
    """MLflow's server answers in the version that is installed; a file needs no server."""
    uri = settings.mlflow.tracking_uri
    if running and running.lives and uri.startswith("sqlite"):
        uri = f"http://127.0.0.1:{running.ports['mlflow']}"
    if uri.startswith("sqlite:///"):
        file = root / uri.removeprefix("sqlite:///")
        there = file if file.exists() else file.parent
        if not os.access(there, os.W_OK):
            return fail("MLflow", f"{file} cannot be written", "set mlflow.tracking_uri to a writable place")
        return ok("MLflow", f"{uri}, without a server")
    if not uri.startswith("http"):
        return ok("MLflow", without_password(uri))
    return _compare_version("MLflow", f"{uri}/version", "mlflow")


def check_prefect(running: Running | None) -> Finding:
    """Prefect's server answers in the version that is installed."""
    api = os.environ.get("PREFECT_API_URL") or (
        prefect_api(running.ports) if running and running.lives else ""
    )
    if not api:
        return warn("Prefect", "no server: flows do not run by themselves", "make up")
    return _compare_version("Prefect", f"{api}/admin/version", "prefect")


def _compare_version(name: str, url: str, package: str) -> Finding:
    try:
        answer = httpx.get(url, timeout=_TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:
        return fail(name, f"{without_password(url)}: {error}", "start it (`make up`), or mend its address")
    theirs, ours = answer.text.strip().strip('"'), version(package)
    if theirs != ours:
        return fail(
            name, f"the server is {theirs}, installed is {ours}", "run the same version on both sides"
        )
    return ok(name, f"{without_password(url)} is {theirs}")


def check_clock(root: Path, urls: Sequence[str], now: float | None = None) -> Finding:
    """This clock against the servers' and against the last commit, which cannot lie ahead.

    Signatures, leases and the windows of schedules all need it.
    """
    here = time.time() if now is None else now
    for url in urls:
        theirs = _date_of(url)
        if theirs is not None and abs(theirs - here) > _MOST_SKEW_S:
            return fail("clock", f"{theirs - here:+.0f} s from the clock of {url}", "synchronise both (NTP)")
    committed = _last_commit(root)
    if committed is not None and committed - here > _MOST_SKEW_S:
        return warn("clock", f"the last commit lies {committed - here:.0f} s ahead", "synchronise it (NTP)")
    agreeing = f" and {len(urls)} servers" if urls else ""
    return ok("clock", f"agrees with the last commit{agreeing}")


def _date_of(url: str) -> float | None:
    """The server's time, seconds since the epoch; None where it says none."""
    try:
        said = httpx.get(url, timeout=_TIMEOUT_S).headers.get("date")
    except httpx.HTTPError:
        return None
    return parsedate_to_datetime(said).timestamp() if said else None


def _last_commit(root: Path) -> float | None:
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=root, capture_output=True, text=True, check=False
    )
    return float(done.stdout) if done.returncode == 0 and done.stdout.strip() else None
