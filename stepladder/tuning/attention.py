"""Causal attention inside each row of a packed batch, plugged into transformers by name."""

from __future__ import annotations

from typing import Any

import torch

from stepladder.errors import StepladderError
from stepladder.tuning.packing import Layout

NAME = "stepladder_packed"


def register_packed_attention() -> str:
    """Make ``attn_implementation=NAME`` known to transformers; returns the name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    return NAME


def packed_attention(  # noqa: PLR0913  transformers' own signature
    module: torch.nn.Module,  # noqa: ARG001  transformers passes it
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layout: Layout,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each token to the earlier tokens of its own row.

    Rows are padded on the right, where causality already hides the padding: no mask is needed.

    Args:
        module: the attention layer, unused.
        query: (1, heads, T, d).
        key: (1, key heads, T, d); key heads divide heads.
        value: as key.
        attention_mask: must be None.
        layout: where each row's tokens are.
        scaling: of the scores; None: 1/sqrt(d).
        dropout: of the attention weights.
        options: what other kinds of attention need.

    Returns:
        (1, T, heads, d), and None in place of the weights.

    Raises:
        StepladderError: the model wants a kind of attention that packing does not do.
    """
    rows, length = layout.source.shape
    _refuse_other_kinds(length, attention_mask, options)
    heads, width = query.shape[1], query.shape[3]
    repeats = heads // key.shape[1]
    q, k, v = (_unpack(packed, layout).transpose(1, 2) for packed in (query, key, value))
    if repeats > 1:
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    if q.device.type == "cpu":  # PyTorch's bfloat16 kernel takes half as long again there (2.13)
        q, k, v = q.float(), k.float(), v.float()
    attended = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, dropout_p=dropout, is_causal=True, scale=scaling
    ).to(query.dtype)
    flat = attended.transpose(1, 2).reshape(rows * length, heads, width)
    tokens: torch.Tensor = _Repack.apply(flat, layout)  # type: ignore[no-untyped-call]
    return tokens[None], None


def _unpack(packed: torch.Tensor, layout: Layout) -> torch.Tensor:
    """(1, h, T, d) tokens to (B, L, h, d) rows."""
    rows: torch.Tensor = _Unpack.apply(packed[0].transpose(0, 1), layout)  # type: ignore[no-untyped-call]
    return rows.view(*layout.source.shape, *rows.shape[1:])


class _Unpack(torch.autograd.Function):
    """(T, h, d) tokens to (B L, h, d) rows. Backward gathers instead of adding: fast and deterministic."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        return tokens.index_select(0, layout.source.flatten())

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        layout: Layout = ctx.layout
        tokens = grad.index_select(0, layout.place)
        tokens[layout.used :] = 0
        if layout.shared:
            rows = grad.view(*layout.source.shape, *grad.shape[1:])
            tokens[: layout.shared] = rows[:, : layout.shared].sum(0)
        return tokens, None


class _Repack(torch.autograd.Function):
    """(B L, h, d) rows back to (T, h, d) tokens; a shared token is taken from the first row."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        ctx.length = rows.shape[0]
        return rows.index_select(0, layout.place)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        layout: Layout = ctx.layout
        rows = grad.new_zeros((ctx.length, *grad.shape[1:]))
        rows.index_copy_(0, layout.place[: layout.used], grad[: layout.used])
        return rows, None


def _refuse_other_kinds(length: int, mask: torch.Tensor | None, options: dict[str, Any]) -> None:
    window = options.get("sliding_window")
    unknown = [name for name in ("softcap", "s_aux") if options.get(name) is not None]
    if window is not None and window < length:
        unknown.append(f"a sliding window of {window} tokens, shorter than a row of {length}")
    if mask is not None:
        unknown.append("an attention mask of its own")
    if unknown:
        raise StepladderError(
            f"the base model's attention uses {', '.join(unknown)}, which tuning does not do",
            remedy="choose another models.base in params.yaml, such as a Llama, Mistral, Qwen or SmolLM",
        )
