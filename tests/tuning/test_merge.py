from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.settings import Tuning
from stepladder.tuning.merge import merge
from stepladder.tuning.rows import TrainingRow, load_tokenizer, tokenise
from stepladder.tuning.train import train
from tests.tuning.conftest import ASKED, SYSTEM


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


def test_the_merged_model_reads_chats_as_the_base_does(
    real_llama: Path, real_rows: list[TrainingRow], tmp_path: Path
) -> None:
    train(real_llama, real_rows, Tuning(rank=4, batch_size=4, bucket=8), 0, tmp_path, lambda _: None)
    merge(real_llama, tmp_path / "adapter", tmp_path / "merged", "bfloat16")

    base, merged = (load_tokenizer(folder) for folder in (real_llama, tmp_path / "merged"))
    assert merged.chat_template == base.chat_template
    assert (merged.eos_token_id, merged.pad_token_id) == (base.eos_token_id, base.pad_token_id)
    for asked, answer in ASKED.items():
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]
        assert tokenise(merged, turns, answer) == tokenise(base, turns, answer)


def test_a_missing_adapter_is_named(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="no adapter here"):
        merge(tiny_llama, tmp_path / "adapter", tmp_path / "merged", "float32")
    assert not (tmp_path / "merged").exists()
