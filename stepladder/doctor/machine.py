"""Disk, memory, and what earlier runs left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil

from stepladder.doctor.finding import Finding, fail, ok, warn
from stepladder.models import local_folder
from stepladder.settings import Settings
from stepladder.stack.place import Place
from stepladder.stack.processes import marked
from stepladder.stack.running import Running

_GIB = 2**30
_LEAST_DISK_GIB = 2.0  # an index, an adapter and a merged model of the samples
_EASY_DISK_GIB = 10.0
_ENGINE_GIB = 3.0  # vLLM's three processes before any weights, measured
_AS_FLOAT32 = 2  # checkpoints are bfloat16


def check_disk(root: Path, free_gib: float | None = None) -> Finding:
    """Space for a climb's outputs."""
    free = shutil.disk_usage(root).free / _GIB if free_gib is None else free_gib
    found = f"{free:.1f} GiB free"
    if free < _LEAST_DISK_GIB:
        return fail(
            "disk", found, f"free {_LEAST_DISK_GIB:.0f} GiB; `dvc gc --workspace` drops unused versions"
        )
    if free < _EASY_DISK_GIB:
        return warn("disk", found, "room for a climb or two: `dvc gc --workspace` drops unused versions")
    return ok("disk", found)


def check_memory(settings: Settings, available_gib: float | None = None) -> Finding:
    """Memory for an engine, and for a second one beside it while a release is switched."""
    free = psutil.virtual_memory().available / _GIB if available_gib is None else available_gib
    one = engine_gib(settings)
    found = f"{free:.1f} GiB available; an engine takes about {one:.1f}"
    if free < one:
        return fail(
            "memory", found, "end other programs, lower engine.kv_cache_gib, or choose a smaller base"
        )
    if free < 2 * one:
        return warn(
            "memory", f"{found}, and two run while a release is switched", "lower engine.kv_cache_gib"
        )
    return ok("memory", found)


def engine_gib(settings: Settings) -> float:
    """About how much memory an engine takes on a CPU, GiB; of a base on a hub the weights are not known."""
    folder = local_folder(settings.models.base)
    files = folder.glob("*.safetensors") if folder else ()
    weights = sum(path.stat().st_size for path in files) / _GIB
    return _ENGINE_GIB + settings.engine.kv_cache_gib + _AS_FLOAT32 * weights


def check_processes(place: Place, running: Running | None) -> Finding:
    """Processes of a stack that nobody supervises any more."""
    if running and running.lives:
        return ok("processes", f"the stack runs, supervised by process {running.pid}")
    left = marked(place.root)
    if left:
        named = ", ".join(str(process.pid) for process in left)
        return warn("processes", f"left by a stack that was killed: {named}", "stepladder down")
    return ok("processes", "nothing left by an earlier stack")


def check_locks(root: Path) -> Finding:
    """Locks of git and DVC whose holders are gone."""
    stale = [f"{path} by process {pid}" for path, pid in _dvc_locks(root) if not psutil.pid_exists(pid)]
    if (root / ".git/index.lock").exists():
        stale.append(".git/index.lock")
    if stale:
        remedy = "see that no git or dvc runs, then delete .git/index.lock or .dvc/tmp/rwlock"
        return warn("locks", f"left: {', '.join(stale)}", remedy)
    return ok("locks", "none left behind")


def _dvc_locks(root: Path) -> list[tuple[str, int]]:
    """The paths that DVC holds, each with the process that took it."""
    file = root / ".dvc/tmp/rwlock"
    try:
        held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError:  # being written now
        return []
    found = []
    for path, how in held.items():
        write, read = how.get("write"), how.get("read") or []
        found += [(path, int(one["pid"])) for one in ([write] if write else []) + read]
    return found
