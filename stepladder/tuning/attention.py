"""Causal attention inside each row of a packed batch, plugged into transformers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepladder.errors import StepladderError

if TYPE_CHECKING:
    import torch

NAME = "stepladder_packed"


def register_packed_attention() -> str:
    """Make ``attn_implementation=NAME`` known to transformers; returns the name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    return NAME


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layout: torch.Tensor,
    pick: torch.Tensor,
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
        layout: (B, L), see `stepladder.tuning.packing.PackedBatch`.
        pick: (T,), likewise.
        scaling: of the scores; None: 1/sqrt(d).
        dropout: of the attention weights.
        options: what other kinds of attention need.

    Returns:
        (1, T, heads, d), and None in place of the weights.

    Raises:
        StepladderError: the model wants a kind of attention that packing does not do.
    """
    _refuse_other_kinds(layout.shape[1], attention_mask, options)
    from torch.nn.functional import scaled_dot_product_attention

    heads, width = query.shape[1], query.shape[3]
    rows, length = layout.shape
    index = layout.flatten()

    def unpack(packed: torch.Tensor) -> torch.Tensor:
        """(1, h, T, d) to (B, h, L, d)."""
        tokens = packed[0].transpose(0, 1).index_select(0, index)
        return tokens.view(rows, length, packed.shape[1], width).transpose(1, 2)

    repeats = heads // key.shape[1]
    q, k, v = unpack(query), unpack(key), unpack(value)
    if repeats > 1:
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    attended = scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scaling)
    flat = attended.transpose(1, 2).reshape(rows * length, heads, width)
    return flat.index_select(0, pick)[None], None


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
