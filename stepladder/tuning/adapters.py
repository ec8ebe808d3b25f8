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


class _RmsNorm(torch.autograd.Function):
    """Root mean square normalisation with frozen weights (Zhang and Sennrich 2019, arXiv 1910.07467).

    Forward y = w x r with r = 1 / sqrt(mean(x^2) + eps); backward, with u = w g:
    r (u - x r^2 mean(u x)), in place.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        inverse = (square / x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        x, weight, inverse = ctx.saved_tensors
        scaled = (grad * weight).float()
        wide = x.float()
        dot = torch.linalg.vecdot(scaled, wide).unsqueeze(-1)
        out = scaled.addcmul_(wide, dot * inverse.square() / x.shape[-1], value=-1).mul_(inverse)
        return out.to(x.dtype), None, None
RmsNorm=_RmsNorm
