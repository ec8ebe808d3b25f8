"""Examples as token rows, and which of them a training budget pays for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.knowledge.chunk import Chunk, covers
from stepladder.tasks import Example

Fit = Callable[[Sequence[Chunk]], list[Chunk]]


@dataclass(frozen=True)
class TrainingRow:
    """Token ids of a prompt and of the answer to learn, end-of-turn included."""

    prompt_ids: list[int]
    answer_ids: list[int]
    example_id: str = ""

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True)
class TrainingContext:
    """The chunks that a training prompt shows; whether they hold the answer."""

    chunks: list[Chunk]
    answerable: bool


def load_tokenizer(base: Path | str) -> Any:
    """The base model's tokenizer.

    Raises:
        StepladderError: it cannot be had, or has no chat template or no end-of-turn token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:  # what transformers raises on an unknown id and a damaged file
        raise StepladderError(
            f"the base model's tokenizer cannot be loaded: {str(error).strip().splitlines()[0]}",
            where=str(base),
            remedy="set models.base in params.yaml to a folder with a Hugging Face checkpoint, or to a hub id"
            " that this machine can reach (a gated model needs `hf auth login`)",
        ) from error
    if not tokenizer.chat_template or not tokenizer.eos_token:
        raise StepladderError(
            "the base model's tokenizer has no chat template or no end-of-turn token",
            where=str(base),
            remedy="set models.base in params.yaml to an instruction-tuned model",
        )
    return tokenizer


def tokenise(
    tokenizer: Any, messages: Sequence[dict[str, str]], answer: str, example_id: str = ""
) -> TrainingRow:
    """Token ids of chat messages and of the assistant's answer to them.

    Args:
        tokenizer: from `load_tokenizer`.
        messages: the turns before the answer, as `stepladder.prompting.render.render` makes them.
        answer: what the assistant is to say; the template's end-of-turn is put behind it.
        example_id: where the row comes from.
    """
    prompt = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    # Apart, so that generation starts from the very tokens that training saw before the answer.
    return TrainingRow(
        tokenizer(prompt, add_special_tokens=False)["input_ids"],
        tokenizer(answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"],
        example_id,
    )


def fit_budget(
    rows: Sequence[TrainingRow], train_tokens: int, max_len: int, epochs: int, seed: int
) -> tuple[list[TrainingRow], dict[str, int]]:
    """Shuffled rows whose lengths sum to at most ``train_tokens / epochs``.

    Args:
        rows: all that there are.
        train_tokens: tokens that training may read, all epochs together.
        max_len: tokens of the longest row that is kept.
        epochs: how often each row is read.
        seed: fixes which rows are kept.

    Returns:
        The rows kept, and how many were left out as ``too_long`` and as ``over_budget``.
    """
    order = list(rows)
    random.Random(seed).shuffle(order)
    short = [row for row in order if row.tokens <= max_len]
    kept: list[TrainingRow] = []
    used = 0
    for row in short:
        if (used + row.tokens) * epochs > train_tokens:
            break
        kept.append(row)
        used += row.tokens
    return kept, {"too_long": len(order) - len(short), "over_budget": len(short) - len(kept)}


def contexts_for_training(
    examples: Sequence[Example],
    retrieved: Sequence[Sequence[Chunk]],
    gold: Sequence[Sequence[Chunk]],
    gold_rate: float,
    seed: int,
    fit: Fit,
) -> list[TrainingContext]:
    """What each example's prompt shows: the retrieved chunks, distractors included, as the rung sees them.

    After RAFT (Zhang et al. 2024, arXiv 2403.10131): where retrieval missed the chunk that holds the
    answer, it takes the place of the last-ranked distractor with probability ``gold_rate`` and stands at
    a random rank; else the answer is not there and the example becomes one of abstaining. A chunk that the
    context budget cuts off was not retrieved.

    Args:
        examples: unanswerable ones keep their own answer.
        retrieved: per example the top chunks, best first.
        gold: per example the chunks that hold its evidence, by id; an answerable example without any is
            taken to need none.
        gold_rate: in [0, 1].
        seed: fixes the draws; an example's draw does not depend on the others.
        fit: cuts chunks, best first, to the context budget, keeping the first at least.

    Returns:
        Contexts within the budget, or of one chunk.
    """
    return [
        _context(example, fit(found), list(holding), gold_rate, seed, fit)
        for example, found, holding in zip(examples, retrieved, gold, strict=True)
    ]


def _context(
    example: Example, found: list[Chunk], gold: list[Chunk], gold_rate: float, seed: int, fit: Fit
) -> TrainingContext:
    if not example.answerable:
        return TrainingContext(found, answerable=False)
    if not gold or {chunk.id for chunk in gold} & {chunk.id for chunk in found}:
        return TrainingContext(found, answerable=True)
    draw = random.Random(f"{seed}:{example.id}:{example.input}")
    if draw.random() >= gold_rate:
        return TrainingContext(found, answerable=False)
    rank = draw.randint(0, max(0, len(found) - 1))
    # First in line for the budget, so that the distractors make room for it.
    holding, *kept = fit([draw.choice(_telling(example, gold)), *found[:-1]])
    kept.insert(rank, holding)
    return TrainingContext(kept, answerable=True)


def _telling(example: Example, gold: Sequence[Chunk]) -> list[Chunk]:
    """Of the gold chunks those that most likely hold the answer.

    They are those of the sections that the evidence names. Of a page named as a whole it is the first chunk
    that is more than a title: most of its others are about something else. By id, as an index gives them, the
    beginning of a page comes first.
    """
    sections = [wanted for wanted in example.evidence if "#" in wanted]
    named = [chunk for chunk in gold if any(covers(wanted, chunk.id) for wanted in sections)]
    more = [chunk for chunk in gold if "\n" in chunk.text or not chunk.heading] or gold
    return named or list({chunk.page: chunk for chunk in reversed(more)}.values())
