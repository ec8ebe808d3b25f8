"""The adapter added to a copy of the base model: a plain checkpoint that vLLM and transformers load."""

from __future__ import annotations

from pathlib import Path

from stepladder.errors import StepladderError
from stepladder.files import writing


def merge(base: Path | str, adapter: Path, out: Path, dtype: str) -> None:
    """Write base + adapter to ``out``, whole or not at all, with the tokenizer.

    Args:
        base: the base model.
        adapter: PEFT's folder of the adapter.
        out: the folder to write.
        dtype: the number format of the engine that will read it. The sum W + s B A is made in float32:
            rounded to bfloat16 it loses a fifth of a small adapter (by norm), which lies far below W.

    Raises:
        StepladderError: there is no adapter, or the disk is full.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise StepladderError(
            "no adapter here", where=str(adapter), remedy="run the stage finetune: dvc repro"
        )
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    with writing(out) as draft:
        merged.to(getattr(torch, dtype)).save_pretrained(draft)
        AutoTokenizer.from_pretrained(base).save_pretrained(draft)
