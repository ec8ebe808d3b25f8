from __future__ import annotations

import math
from pathlib import Path

import pytest

from stepladder.tuning.forgetting import GeneralItem, forgetting, general_items, perplexity

ITEM = GeneralItem(question="Which state?", answer="present")


def test_the_items_are_forty_and_no_question_comes_twice() -> None:
    questions = [item.question for item in general_items()]
    assert len(questions) == len(set(questions)) == 40


def test_a_random_model_guesses_no_better_than_by_chance(tiny_llama: Path) -> None:
    from transformers import AutoTokenizer

    size = len(AutoTokenizer.from_pretrained(tiny_llama))
    assert size < perplexity(tiny_llama, general_items()[:3]) < 10 * size


def test_perplexity_is_that_of_the_answer_alone(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": ITEM.question}], add_generation_prompt=True, tokenize=False
    )
    start, whole = (
        len(tokenizer(prompt)["input_ids"]),
        tokenizer(prompt + ITEM.answer + "<|im_end|>")["input_ids"],
    )
    with torch.inference_mode():
        shares = torch.log_softmax(model(torch.tensor([whole])).logits[0], dim=-1)
    monkeypatch.setattr("stepladder.hardware.preferred_dtype", lambda: "float32")
    loss = -sum(shares[place - 1, whole[place]].item() for place in range(start, len(whole)))
    assert perplexity(tiny_llama, [ITEM]) == pytest.approx(math.exp(loss / (len(whole) - start)), rel=1e-4)


def test_a_model_forgets_nothing_beside_itself(tiny_llama: Path) -> None:
    seen: list[tuple[float, float]] = []
    lost = forgetting(tiny_llama, tiny_llama, [ITEM], lambda *progress: seen.append(progress))
    assert seen == [(1, 2), (2, 2)]
    assert lost.relative_rise == 0
    assert lost.before == lost.after
    assert lost.items == len(lost.pairs) == 1
    assert lost.pairs[0].before == lost.pairs[0].after
    assert math.exp(lost.pairs[0].before.loss / lost.pairs[0].before.tokens) == lost.before


def test_the_model_is_probed_on_the_device_that_there_is(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaForCausalLM

    moved: list[str] = []
    stay = LlamaForCausalLM.to

    def move(model: LlamaForCausalLM, where: str) -> LlamaForCausalLM:
        moved.append(where)
        return stay(model, "cpu")

    monkeypatch.setattr("stepladder.hardware.device", lambda: "cuda")
    monkeypatch.setattr(LlamaForCausalLM, "to", move)
    monkeypatch.setattr("stepladder.hardware.preferred_dtype", lambda: "float32")
    assert perplexity(tiny_llama, [ITEM]) > 1
    assert moved == ["cuda"]
