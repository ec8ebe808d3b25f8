"""What this machine computes with."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Literal

Dtype = Literal["bfloat16", "float32"]


def preferred_dtype() -> Dtype:
    """The fastest number format for a model's forward pass here.

    ``bfloat16`` on CUDA and where the processor multiplies it natively (Intel AMX, AVX-512 BF16),
    else ``float32``: emulated bfloat16 is about a hundred times slower.
    """
    import torch

    if torch.cuda.is_available():
        return "bfloat16"
    # torch has no public check (2.13); torch.cpu._is_* answers False on other architectures.
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"


def device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def machine() -> str:
    """This machine in a few words, to state with what was measured on it: the GPU, or cores and processor."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {_processor()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named.group(1).strip() if named else platform.machine()
