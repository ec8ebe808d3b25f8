"""Memory that a training step frees is kept for the next; when the training ends, the card gets it back."""

from __future__ import annotations

import ctypes
import gc

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD of malloc.h
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD
_LARGEST_FROM_HEAP = 32 << 20  # bytes; glibc takes no more


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed memory: every activation would else be mapped and zeroed anew.

    Returns:
        Whether the C library is one that can be told.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def free_gpu_memory() -> None:
    """Give a GPU back what nothing needs any more: PyTorch keeps it, and an engine wants most of the card."""
    import torch

    if torch.cuda.is_available():
        gc.collect()  # a model and its adapter refer to each other
        torch.cuda.empty_cache()
