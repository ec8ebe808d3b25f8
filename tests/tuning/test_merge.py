from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.settings import Tuning
from stepladder.tuning.merge import merge
from stepladder.tuning.rows import TrainingRow
from stepladder.tuning.train import train


def test_the_merged_model_says_what_base_and_adapter_say(tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tuning = Tuning(rank=4, learning_rate=0.05, bucket=8)
    train(tiny_llama, [TrainingRow([5, 6], [7, 1])], tuning, 0, tmp_path, lambda _: None)
    merge(tiny_llama, tmp_path / "adapter", tmp_path / "merged", "float32")

    ids = torch.tensor([[5, 6, 7, 8]])
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert merged.dtype == torch.float32
    with torch.inference_mode():
        plain = base(ids).logits
        adapted = PeftModel.from_pretrained(base, tmp_path / "adapter")(ids).logits
        torch.testing.assert_close(merged(ids).logits, adapted, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(adapted, plain, atol=1e-3)
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (tiny_llama, tmp_path / "merged")]
    assert tokenizers[0].chat_template == tokenizers[1].chat_template


def test_a_missing_adapter_is_named(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="no adapter here"):
        merge(tiny_llama, tmp_path / "adapter", tmp_path / "merged", "float32")
    assert not (tmp_path / "merged").exists()
