"""PEFT's LoRA layers with a leaner forward and backward: the same adapter, fewer passes over memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from stepladder.settings import Tuning


class _LoraLinear(torch.autograd.Function):
    """``x W' + s (x A') B'`` (Hu et al. 2021, arXiv 2106.09685), with W frozen.

    The product with B is added in place by the matrix product itself, forward and backward, where PEFT
    makes a scaled copy and a sum of every output. Adapter weights are fp32; they are cast to the
    activations' dtype for the products, and their gradients come back in fp32.
    """

    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        down, up = down.to(x.dtype), (up * scaling).to(x.dtype)
        inner = flat @ down.t()
        out = torch.nn.functional.linear(flat, weight, bias).addmm_(inner, up.t())
        ctx.save_for_backward(flat, weight, down, up, inner)
        ctx.scaling = scaling
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        flat, weight, down, up, inner = ctx.saved_tensors
        g = grad.reshape(-1, grad.shape[-1])
        inner_grad = g @ up
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = (g @ weight).addmm_(inner_grad, down).view(*grad.shape[:-1], -1)
        down_grad = (inner_grad.t() @ flat).float()
        up_grad = (g.t() @ inner).float().mul_(ctx.scaling)
        return x_grad, None, None, down_grad, up_grad, None
