"""The number format follows the processor."""

from __future__ import annotations

import re

import pytest
import torch

from stepladder.hardware import device, machine, preferred_dtype


@pytest.mark.parametrize(
    ("cuda", "amx", "avx512_bf16", "expected"),
    [
        (False, False, False, "float32"),
        (False, True, False, "bfloat16"),
        (False, False, True, "bfloat16"),
        (True, False, False, "bfloat16"),
    ],
)
def test_bfloat16_only_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, amx: bool, avx512_bf16: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    assert preferred_dtype() == expected
    assert device() == ("cuda" if cuda else "cpu")


def test_the_machine_is_named_by_its_cores_and_processor() -> None:
    assert re.fullmatch(r"\d+ cores of \S.*", machine()) or torch.cuda.is_available()
