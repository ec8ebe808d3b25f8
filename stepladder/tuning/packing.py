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
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING

from stepladder.tuning.rows import TrainingRow

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PackedBatch:
    """One step's rows. T is a multiple of the bucket, and so is L, the longest row's length.

    Attributes:
        input_ids: (1, T) token ids.
        position_ids: (1, T) each token's place in its row.
        layout: (B, L) for each row and place, its token's index in the sequence; padding points at 0.
        pick: (T,) for each token, the index of one row's place that holds it in ``layout.flatten()``.
        predictors: (A,) indexes of the tokens that predict an answer's token.
        targets: (A,) the ids that they predict.
        tokens: the rows' lengths summed, before sharing and padding.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    layout: torch.Tensor
    pick: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    tokens: int


def plan_batches(rows: Sequence[TrainingRow], batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """Row numbers of each step: every row once an epoch, in an order that (seed, epoch) fixes."""
    steps: list[list[int]] = []
    for epoch in range(epochs):
        order = list(range(len(rows)))
        random.Random(f"{seed}:{epoch}").shuffle(order)
        steps += [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return steps


def pack(rows: Sequence[TrainingRow], bucket: int) -> PackedBatch:
    """Lay rows end to end behind the prefix of prompt tokens that they all share.

    Args:
        rows: at least one row with at least one prompt token and one answer token each.
        bucket: sequence lengths are rounded up to a multiple of this, so that few shapes occur: oneDNN
            compiles a kernel for each new one.
    """
    import torch

    prompts = [row.prompt_ids for row in rows]
    shared = len(commonprefix(prompts)) if len(rows) > 1 else 0
    ids = list(prompts[0][:shared])
    places = list(range(shared))
    pick = list(range(shared))
    predictors: list[int] = []
    targets: list[int] = []
    longest = _round_up(max(row.length for row in rows), bucket)
    layout = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        start = len(ids)
        whole = [*row.prompt_ids, *row.answer_ids]
        ids += whole[shared:]
        places += range(shared, len(whole))
        pick += range(number * longest + shared, number * longest + len(whole))
        layout[number, :shared] = torch.arange(shared)
        layout[number, shared : len(whole)] = torch.arange(start, len(ids))
        first = len(row.prompt_ids) - 1
        predictors += layout[number, first : len(whole) - 1].tolist()
        targets += row.answer_ids
    padding = _round_up(len(ids), bucket) - len(ids)
    return PackedBatch(
        input_ids=torch.tensor([ids + [ids[0]] * padding]),
        position_ids=torch.tensor([places + [0] * padding]),
        layout=layout,
        pick=torch.tensor(pick + [0] * padding),
        predictors=torch.tensor(predictors),
        targets=torch.tensor(targets),
        tokens=sum(row.length for row in rows),
    )


def _round_up(length: int, bucket: int) -> int:
    return -(-length // bucket) * bucket
