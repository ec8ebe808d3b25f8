"""All checks, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stepladder.doctor import installed, machine, project, secrets, servers
from stepladder.doctor.finding import Finding, fail
from stepladder.settings import Settings
from stepladder.stack.health import address
from stepladder.stack.place import Place
from stepladder.stack.running import Running, read_running
from stepladder.stack.services import SERVICES

Check = Callable[[], Finding]


def examine(root: Path, settings: Settings) -> list[Finding]:
    """Run every check; one that cannot be carried out is a failure of its own."""
    place = Place(root.resolve())
    running = read_running(place)
    checks = dict(_checks(place, settings, running))
    with ThreadPoolExecutor(len(checks)) as threads:
        return list(threads.map(_safely, checks, checks.values()))


def _safely(name: str, check: Check) -> Finding:
    try:
        return check()
    except Exception as error:  # the other checks are still wanted
        return fail(name, f"could not be checked: {type(error).__name__}: {error}", "mend what it says")


def _checks(place: Place, settings: Settings, running: Running | None) -> Iterator[tuple[str, Check]]:
    root = place.root
    up = running is not None and running.lives
    urls = [address(one, running.ports) for one in SERVICES.values() if one.port] if running and up else []
    yield "Python", installed.check_python
    yield "dependencies", lambda: installed.check_dependencies(Path(f"requirements/{settings.hardware}.txt"))
    yield "processor", lambda: installed.check_processor(settings)
    yield "OpenMP", installed.check_openmp
    yield "disk", lambda: machine.check_disk(root)
    yield "memory", lambda: machine.check_memory(settings)
    yield "base model", lambda: project.check_base(settings)
    yield "embedder", lambda: project.check_embedder(settings)
    yield "tasks", lambda: project.check_tasks(root, settings)
    yield "git", lambda: project.check_git(root)
    yield "DVC remote", lambda: project.check_remote(root)
    yield "ports", lambda: servers.check_ports(root, running)
    yield "MLflow", lambda: servers.check_mlflow(root, settings, running)
    yield "Prefect", lambda: servers.check_prefect(running)
    yield "clock", lambda: servers.check_clock(root, urls)
    yield "gateway keys", lambda: secrets.check_gateway_keys(root)
    yield "signing keys", secrets.check_signing_keys
    yield "processes", lambda: machine.check_processes(place, running)
    yield "locks", lambda: machine.check_locks(root)
