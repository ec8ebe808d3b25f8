"""Whether there is memory for one more engine."""

from __future__ import annotations

import json
import os
from math import prod
from pathlib import Path

from stepladder.engine import dtype_of
from stepladder.models import local_folder
from stepladder.settings import Engine

_GIB = 2**30
# vLLM on a CPU: 5 GB in all were measured for a model of 0.3 GB with a cache of 2 GiB.
_PROCESSES_GIB = 2.5
_MERGING_GIB = 1.0
_CGROUP = Path("/sys/fs/cgroup")
_FLOATS = ("F64", "F32", "F16", "BF16")
_LONGEST_HEADER = 100_000_000  # safetensors' own limit


def engine_gib(model: str, settings: Engine) -> float:
    """An estimate of what an engine takes: processes, cache, weights in the format that it computes in."""
    return _PROCESSES_GIB + settings.kv_cache_gib + _weights_gib(model, dtype_of(settings))


def merging_gib(base: str) -> float:
    """An estimate of what it takes to merge an adapter into a base: that in float32, and PyTorch."""
    return _MERGING_GIB + _weights_gib(base, "float32")


def _weights_gib(model: str, dtype: str) -> float:
    """Weights once they are loaded: floats in another format than the stored, all else as it is stored."""
    width = 4 if dtype == "float32" else 2
    local = local_folder(model)
    folder = local or _cached(model)
    files = list(folder.rglob("*.safetensors")) if folder else []
    if files or local:
        return sum(_loaded_bytes(file, width) for file in files) / _GIB
    return width * _parameters_on_hub(model) / _GIB


def _loaded_bytes(file: Path, width: int) -> int:
    """By the header of a safetensors file: its length in 8 bytes, then JSON. Without one, what is stored."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = opened.read(min(length, _LONGEST_HEADER))
    try:
        tensors = [one for name, one in json.loads(header).items() if name != "__metadata__"]
        return sum(
            width * prod(one["shape"])
            if one["dtype"] in _FLOATS
            else one["data_offsets"][1] - one["data_offsets"][0]
            for one in tensors
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return file.stat().st_size


def _cached(model: str) -> Path | None:
    """The folder of a hub id in the hub's cache here; it may hold no more than the configuration."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except Exception:  # the hub's client raises many kinds
        return None


def _parameters_on_hub(model: str) -> int:
    """As the hub tells; 0 where it does not: the engine's own start then says what is wrong."""
    from huggingface_hub import get_safetensors_metadata

    try:
        return sum(get_safetensors_metadata(model).parameter_count.values())
    except Exception:  # as above
        return 0


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
