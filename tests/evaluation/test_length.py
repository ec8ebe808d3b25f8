"""Prompts that the engine could not read are named, with their lengths, before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.evaluation.length import require_fitting
from stepladder.prompting.compose import Request
from stepladder.tuning.rows import load_tokenizer, tokenise


def prompt(words: int, answer: int = 8) -> Request:
    messages = [{"role": "user", "content": "state " * words}]
    return Request(messages=messages, output_schema=None, max_tokens=answer)


def test_the_answer_counts_and_the_limit_itself_fits(tiny_llama: Path) -> None:
    request = prompt(10)
    tokens = len(tokenise(load_tokenizer(tiny_llama), request.messages, "").prompt_ids)
    require_fitting([("case c1", request)], str(tiny_llama), tokens + 8)
    with pytest.raises(StepladderError, match=f"case c1: {tokens} tokens, and 8 to answer") as caught:
        require_fitting([("case c0", prompt(1)), ("case c1", request)], str(tiny_llama), tokens + 7)
    assert caught.value.what.startswith(f"1 of 2 prompts are longer than the {tokens + 7} tokens")
    assert "case c0" not in caught.value.what
    assert "engine.max_model_len" in caught.value.remedy


def test_many_are_counted_and_the_first_are_named(tiny_llama: Path) -> None:
    prompts = [(f"case c{number}", prompt(50)) for number in range(12)]
    with pytest.raises(StepladderError, match=r"12 of 12 prompts[\s\S]*case c4[\s\S]*and 7 more"):
        require_fitting(prompts, str(tiny_llama), 40)
