"""PEFT's LoRA layers and RMS normalisation with leaner passes: the same numbers, fewer trips to memory."""

from __future__ import annotations

from typing import Any

import torch


class _LoraLinear(torch.autograd.Function):
    """``x W' + s (x A') B'`` (Hu et al. 2021, arXiv 2106.09685), with W frozen.

    The product with B is added by the matrix product itself, forward and backward, where PEFT makes a
    scaled copy and a sum of every output. Adapter weights are fp32; they are cast to the activations'
    dtype for the products, and their gradients come back in fp32.
    """

    @staticmethod
    def forward(
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
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
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

    Forward y = w x r with r = 1 / sqrt(mean(x^2) + eps). Backward, with u = w g: r (u - x r^2 mean(u x)).
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        inverse = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        out: torch.Tensor = (wide * inverse).to(x.dtype).mul_(weight)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, weight, inverse = ctx.saved_tensors
        scaled = (grad * weight).float()
        wide = x.float()
        dot = torch.linalg.vecdot(scaled, wide).unsqueeze(-1)
        out = scaled.addcmul_(wide, dot * inverse.square() / x.shape[-1], value=-1).mul_(inverse)
        return out.to(x.dtype), None, None


def lean(model: torch.nn.Module) -> int:
    """Give a PEFT model's LoRA layers and RMS norms the passes above, where they do the same thing.

    Left alone are LoRA layers with dropout, variants such as DoRA, or another base than a plain linear
    layer, and norms whose output differs on a probe (Gemma's, which scales by 1 + w).

    Returns:
        How many modules were changed.
    """
    from peft.tuners.lora import Linear

    changed = 0
    for module in model.modules():
        if isinstance(module, Linear) and _is_plain(module):
            module.forward = _lora_forward(module)
        elif type(module).__name__.endswith("RMSNorm") and _norms_alike(module):
            module.forward = _norm_forward(module)
        else:
            continue
        changed += 1
    return changed


def _is_plain(layer: Any) -> bool:
    (name,) = layer.active_adapters
    return (
        type(layer.base_layer) is torch.nn.Linear
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and not getattr(layer, "lora_variant", {}).get(name)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
    )


def _lora_forward(layer: Any) -> Any:
    (name,) = layer.active_adapters
    base, down, up = layer.base_layer, layer.lora_A[name], layer.lora_B[name]

    def forward(x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        out: torch.Tensor = _LoraLinear.apply(  # type: ignore[no-untyped-call]
            x, base.weight, base.bias, down.weight, up.weight, layer.scaling[name]
        )
        return out

    return forward


def _epsilon(norm: Any) -> float | None:
    return getattr(norm, "variance_epsilon", getattr(norm, "eps", None))


def _norm_forward(norm: Any) -> Any:
    epsilon = _epsilon(norm)

    def forward(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = _RmsNorm.apply(x, norm.weight, epsilon)  # type: ignore[no-untyped-call]
        return out

    return forward


def _norms_alike(norm: Any) -> bool:
    weight = getattr(norm, "weight", None)
    if weight is None or _epsilon(norm) is None or weight.requires_grad:
        return False
    width = weight.shape[0]
    probe = torch.linspace(-1, 1, width, dtype=weight.dtype, device=weight.device)[None]
    with torch.no_grad():
        return torch.allclose(norm(probe), _norm_forward(norm)(probe), rtol=2e-2, atol=1e-5)
