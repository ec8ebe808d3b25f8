"""Whether there is memory for one more engine."""

from __future__ import annotations

import os
from pathlib import Path

from stepladder.engine import dtype_of
from stepladder.models import is_local
from stepladder.settings import Engine

_GIB = 2**30
# vLLM on a CPU: 5 GB in all were measured for a model of 0.3 GB with a cache of 2 GiB.
_PROCESSES_GIB = 2.5
_CGROUP = Path("/sys/fs/cgroup")


def engine_gib(model: str, settings: Engine) -> float:
    """An estimate of what an engine takes: processes, cache, and weights, which are larger in float32."""
    stored = sum(file.stat().st_size for file in Path(model).rglob("*.safetensors")) if is_local(model) else 0
    grows = 2 if dtype_of(settings) == "float32" else 1
    return _PROCESSES_GIB + settings.kv_cache_gib + grows * stored / _GIB


def free_gib(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> float:
    """Memory that may still be taken: of the machine and, in a container, of its limit."""
    free = _available(meminfo)
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used + (_inactive(cgroup / "memory.stat") or 0))
    return free / _GIB


def _available(meminfo: Path) -> float:
    if not meminfo.is_file():  # not Linux: all of it is the best guess
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return 1024.0 * int(lines["MemAvailable"].split()[0])


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None


def _inactive(stat: Path) -> int | None:
    """Bytes of cached files, which count as used but give way."""
    lines = stat.read_text().splitlines() if stat.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), None)
