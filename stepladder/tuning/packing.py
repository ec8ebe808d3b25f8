"""Rows laid end to end in one sequence: no padding, and a prefix that all rows share is there once.

A batch of B rows becomes one sequence of T tokens: first the prefix that all rows begin with (the system
prompt, as a rule), then each row's own tokens. Causal attention makes the prefix's hidden states the same
in every row, so computing them once gives the same loss and the same gradients as B padded rows, with
fewer multiplications. Only attention (`stepladder.tuning.attention`) needs to see rows again.

Packing without cross-contamination: Krell et al. 2021, arXiv 2107.02027.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stepladder.tuning.rows import TrainingRow

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Layout:
    """Where rows and the packed sequence hold the same token.

    Attributes:
        source: (B, L) for each row and place, the index of its token in the sequence; padding points at 0.
        place: (T,) for each token, the index in ``source.flatten()`` of one row's place that holds it.
        shared: how many tokens at the start belong to every row.
        used: how many tokens are not padding.
    """

    source: torch.Tensor
    place: torch.Tensor
    shared: int
    used: int


@dataclass(frozen=True)
class PackedBatch:
    """One step's rows. T is a multiple of the bucket, and so is L, the longest row's length.

    Attributes:
        input_ids: (1, T) token ids.
        position_ids: (1, T) each token's place in its row.
        layout: where each row's tokens are.
        predictors: (A,) indexes of the tokens that predict an answer's token.
        targets: (A,) the ids that they predict.
        tokens: the rows' lengths summed, before sharing and padding.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    layout: Layout
    predictors: torch.Tensor
    targets: torch.Tensor
    tokens: int

    def to(self, device: torch.device) -> PackedBatch:
        """The same batch on a device."""
        layout = replace(
            self.layout, source=self.layout.source.to(device), place=self.layout.place.to(device)
        )
        return PackedBatch(
            self.input_ids.to(device),
            self.position_ids.to(device),
            layout,
            self.predictors.to(device),
            self.targets.to(device),
            self.tokens,
        )


def plan_batches(rows: int, batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """Row numbers of each step: every row once an epoch, in an order that (seed, epoch) fixes."""
    steps: list[list[int]] = []
    for epoch in range(epochs):
        order = list(range(rows))
        random.Random(f"{seed}:{epoch}").shuffle(order)
        steps += [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return steps


def pack(rows: Sequence[TrainingRow], bucket: int) -> PackedBatch:
    """Lay rows end to end behind the prefix of prompt tokens that they all share.

    Args:
        rows: at least one; each with a prompt and an answer of at least one token.
        bucket: lengths are rounded up to a multiple of this, so that few shapes occur: oneDNN compiles a
            kernel for each new one.
    """
    import torch

    shared = _common_prefix([row.prompt_ids for row in rows]) if len(rows) > 1 else 0
    ids = rows[0].prompt_ids[:shared]
    positions = list(range(shared))
    places = list(range(shared))
    predictors: list[int] = []
    targets: list[int] = []
    longest = _round_up(max(row.tokens for row in rows), bucket)
    source = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        start = len(ids)
        ids = [*ids, *row.prompt_ids[shared:], *row.answer_ids]
        source[number, :shared] = torch.arange(shared)
        source[number, shared : row.tokens] = torch.arange(start, len(ids))
        positions += range(shared, row.tokens)
        places += range(number * longest + shared, number * longest + row.tokens)
        predictors += source[number, len(row.prompt_ids) - 1 : row.tokens - 1].tolist()
        targets += row.answer_ids
    padding = _round_up(len(ids), bucket) - len(ids)
    return PackedBatch(
        input_ids=torch.tensor([ids + [ids[0]] * padding]),
        position_ids=torch.tensor([positions + [0] * padding]),
        layout=Layout(source, torch.tensor(places + [0] * padding), shared, len(ids)),
        predictors=torch.tensor(predictors),
        targets=torch.tensor(targets),
        tokens=sum(row.tokens for row in rows),
    )


def _common_prefix(prompts: Sequence[list[int]]) -> int:
    """How many tokens at the start are the same in all."""
    shortest, longest = min(prompts), max(prompts)
    for place, token in enumerate(shortest):
        if place == len(longest) or longest[place] != token:
            return place
    return len(shortest)


def _round_up(length: int, bucket: int) -> int:
    return -(-length // bucket) * bucket
