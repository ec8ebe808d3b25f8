"""What this machine computes with."""

from __future__ import annotations

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
