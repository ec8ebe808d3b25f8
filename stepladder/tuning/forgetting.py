"""How much of its general knowledge a model lost in tuning: perplexity on questions that no task asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stepladder.console import OnProgress
from stepladder.files import read_jsonl
from stepladder.tasks import Strict
from stepladder.tuning.rows import TrainingRow, tokenise

if TYPE_CHECKING:
    import torch


class GeneralItem(Strict):
    """A question that most models can answer, and its answer."""

    question: str
    answer: str


class Losses(Strict):
    """One item's summed loss (nats) and how many answer tokens it is of."""

    loss: float
    tokens: int


class Item(Strict):
    """One item, asked of the model before tuning and of the model after it."""

    before: Losses
    after: Losses


class Forgetting(Strict):
    """Perplexity per answer token before and after tuning; ``relative_rise`` is after / before - 1.

    ``pairs``: each of the ``items`` both times, of which the rise is made; empty in records of before they
    were kept.
    """

    before: float
    after: float
    relative_rise: float
    items: int
    pairs: list[Item] = Field(default=[])


def general_items() -> list[GeneralItem]:
    """The package's 40 items: geography, arithmetic, language, science, common sense, manners."""
    path = Path(str(files("stepladder.tuning").joinpath("general_items.jsonl")))
    return [GeneralItem.model_validate(value) for _, value in read_jsonl(path)]


def forgetting(
    base: Path | str,
    merged: Path,
    items: Sequence[GeneralItem] | None = None,
    on_item: OnProgress = lambda _done, _all: None,
) -> Forgetting:
    """Compare a merged model with its base on general items (default: the package's own).

    ``on_item`` is called with (done, all) after each item of either model.
    """
    items = general_items() if items is None else items
    whole = 2 * len(items)
    first = losses(base, items, lambda done: on_item(done, whole))
    then = losses(merged, items, lambda done: on_item(len(items) + done, whole))
    before, after = _perplexity(first), _perplexity(then)
    return Forgetting(
        before=before,
        after=after,
        relative_rise=after / before - 1,
        items=len(items),
        pairs=[Item(before=one, after=other) for one, other in zip(first, then, strict=True)],
    )


def perplexity(model_path: Path | str, items: Sequence[GeneralItem]) -> float:
    """exp of the mean loss per answer token (``losses``)."""
    return _perplexity(losses(model_path, items))


def losses(
    model_path: Path | str, items: Sequence[GeneralItem], on_item: Callable[[int], None] = lambda _done: None
) -> list[Losses]:
    """Loss over the answer's tokens, end-of-turn included, each question asked by itself.

    Args:
        model_path: folder or hub id of a full model.
        items: at least one.
        on_item: called after each with how many were asked.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from stepladder.hardware import device, preferred_dtype

    tokenizer = AutoTokenizer.from_pretrained(model_path)
    loaded = AutoModelForCausalLM.from_pretrained(model_path, dtype=getattr(torch, preferred_dtype()))
    model = loaded.to(device()).eval()
    rows = [tokenise(tokenizer, [{"role": "user", "content": item.question}], item.answer) for item in items]
    found = []
    with torch.inference_mode():
        for number, row in enumerate(rows, 1):
            found.append(Losses(loss=_loss(model, row), tokens=len(row.answer_ids)))
            on_item(number)
    return found


def _perplexity(found: Sequence[Losses]) -> float:
    return math.exp(sum(one.loss for one in found) / sum(one.tokens for one in found))


def _loss(model: Any, row: TrainingRow) -> float:
    """Summed over the row's answer tokens, nats."""
    import torch

    ids = torch.tensor([[*row.prompt_ids, *row.answer_ids]], device=model.device)
    # The token before the answer predicts its first; the last token predicts nothing.
    logits: torch.Tensor = model(ids, logits_to_keep=len(row.answer_ids) + 1).logits[0, :-1]
    wanted = torch.tensor(row.answer_ids, device=model.device)
    return float(torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="sum"))
