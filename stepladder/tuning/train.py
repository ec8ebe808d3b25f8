"""LoRA on a frozen base, loss at the answers' tokens only; a killed run can go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepladder.errors import StepladderError
from stepladder.failures import first_line
from stepladder.files import read_json, write_json, writing
from stepladder.settings import Tuning
from stepladder.tasks import Strict
from stepladder.tuning.allocation import free_gpu_memory, keep_freed_memory
from stepladder.tuning.rows import TrainingRow

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Step:
    """One optimiser step: its number from 1, of how many, mean loss per answer token, tokens read so far."""

    number: int
    total: int
    loss: float
    tokens: int
    tokens_per_s: float


class TrainingResult(Strict):
    """A finished run.

    Attributes:
        rows: examples learned from.
        steps: of the optimiser.
        tokens: rows' lengths summed, all epochs; a prefix that rows share counts in each.
        seconds: spent on steps, those before a kill included.
        tokens_per_s: tokens / seconds.
        losses: mean loss per answer token, nats, for each step.
        final_loss: mean over the last tenth of the steps.
        resumed_from: the step that a checkpoint had reached, or None.
    """

    rows: int
    steps: int
    tokens: int
    seconds: float
    tokens_per_s: float
    losses: list[float]
    final_loss: float
    resumed_from: int | None


def train(
    base: Path | str,
    rows: Sequence[TrainingRow],
    tuning: Tuning,
    seed: int,
    folder: Path,
    on_step: Callable[[Step], None],
) -> TrainingResult:
    """Train an adapter and write it, in PEFT's form, to ``folder/adapter``.

    Every ``tuning.checkpoint_every`` steps the state goes to ``folder/checkpoint``; the same call goes on
    from there and ends with the weights of an uninterrupted run. A GPU's memory is given back at the end.

    Args:
        base: folder or hub id of the base model.
        rows: what to learn; none of them empty.
        tuning: rank, learning rate and so on.
        seed: of the adapter's first weights, dropout and the order of the rows.
        folder: made if missing.
        on_step: called after each step.

    Raises:
        StepladderError: there are no rows, no layer has a name of ``tuning.target_modules``, the loss is not
            finite, or the disk is full.
    """
    try:
        return _train(base, rows, tuning, seed, folder, on_step)
    finally:
        free_gpu_memory()


def _train(
    base: Path | str,
    rows: Sequence[TrainingRow],
    tuning: Tuning,
    seed: int,
    folder: Path,
    on_step: Callable[[Step], None],
) -> TrainingResult:
    import torch

    from stepladder.tuning.checkpoint import Progress, load_checkpoint, run_digest, save_checkpoint
    from stepladder.tuning.packing import pack, plan_batches

    if not rows:
        raise StepladderError(
            "no row fits the training budget",
            where="params.yaml",
            remedy="raise sizes.<hardware>.train_tokens, or give shorter examples",
        )
    keep_freed_memory()
    torch.manual_seed(seed)
    model = _adapted_model(base, tuning)
    weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(_groups(weights, tuning), lr=0.0, weight_decay=0.0, fused=True)
    plan = plan_batches(len(rows), tuning.batch_size, tuning.epochs, seed)
    digest = run_digest(str(base), rows, tuning, seed)
    progress = load_checkpoint(folder / "checkpoint", digest, weights, optimizer)
    resumed_from = progress.step if progress else None
    progress = progress or Progress(0, 0, 0.0, [])
    started = time.perf_counter() - progress.seconds
    for number in range(progress.step + 1, len(plan) + 1):
        batch = pack([rows[row] for row in plan[number - 1]], tuning.bucket)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(number, len(plan), tuning.warm_up)
        loss = _step(model, list(weights.values()), optimizer, batch.to(model.device), tuning.clip)
        _require_finite(loss, number, tuning)
        seconds = time.perf_counter() - started
        progress = Progress(number, progress.tokens + batch.tokens, seconds, [*progress.losses, loss])
        on_step(Step(number, len(plan), loss, progress.tokens, progress.tokens / seconds))
        # The last state is kept too: a rerun after a kill in what follows has nothing to learn again. The
        # caller deletes it when what follows is done.
        if number % tuning.checkpoint_every == 0 or number == len(plan):
            save_checkpoint(folder / "checkpoint", digest, progress, weights, optimizer)
    with writing(folder / "adapter") as draft:
        model.save_pretrained(draft)
        _settle_config(draft)
    tail = progress.losses[-max(1, len(plan) // 10) :]
    return TrainingResult(
        rows=len(rows),
        steps=len(plan),
        tokens=progress.tokens,
        seconds=progress.seconds,
        tokens_per_s=progress.tokens / progress.seconds,
        losses=progress.losses,
        final_loss=sum(tail) / len(tail),
        resumed_from=resumed_from,
    )


def _settle_config(adapter: Path) -> None:
    """Make the adapter's files the same for the same weights: PEFT writes a set in any order, and a path."""
    path = adapter / "adapter_config.json"
    config = read_json(path)
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = Path(config["base_model_name_or_path"]).name
    write_json(path, config)
    (adapter / "README.md").unlink(missing_ok=True)


def schedule(number: int, total: int, warm_up: float) -> float:
    """Share of the learning rate at step ``number`` of ``total``: linear warm-up, then a cosine to 0.

    ``warm_up`` is its share of the steps; it takes one at least.
    Cosine annealing without restarts: Loshchilov and Hutter 2017, arXiv 1608.03983.
    """
    rising = max(1, round(total * warm_up))
    if number <= rising:
        return number / rising
    return 0.5 * (1 + math.cos(math.pi * (number - rising) / (total - rising + 1)))


def _groups(weights: dict[str, torch.nn.Parameter], tuning: Tuning) -> list[dict[str, Any]]:
    """The B matrices, which start at zero, learn faster than the A matrices by ``lora_plus_ratio``.

    LoRA+ (Hayou, Ghosh and Yu 2024, arXiv 2402.12354).
    """
    ups = [weight for name, weight in weights.items() if "lora_B" in name]
    others = [weight for name, weight in weights.items() if "lora_B" not in name]
    return [
        {"params": others, "peak": tuning.learning_rate},
        {"params": ups, "peak": tuning.learning_rate * tuning.lora_plus_ratio},
    ]


def _adapted_model(base: Path | str, tuning: Tuning) -> Any:
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    from stepladder.hardware import device, preferred_dtype
    from stepladder.tuning.adapters import lean
    from stepladder.tuning.attention import register_packed_attention

    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=getattr(torch, preferred_dtype()), attn_implementation=register_packed_attention()
    )
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=tuning.target_modules,
        task_type="CAUSAL_LM",
    )
    adapted = _with_adapter(model, config)
    lean(adapted)
    return adapted.to(device()).train()


def _with_adapter(model: Any, config: Any) -> Any:
    from peft import get_peft_model

    try:
        return get_peft_model(model, config, autocast_adapter_dtype=True)
    except ValueError as error:  # no such layers, or not of a kind that PEFT adapts
        raise StepladderError(
            f"no adapter fits the base model: {first_line(error)}",
            where="tuning.target_modules in params.yaml",
            remedy="name linear layers of the model, such as q_proj, or set it to all-linear",
        ) from error


def _step(
    model: Any, weights: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, batch: Any, clip: float
) -> float:
    """Forward, backward and update; returns the mean loss per answer token."""
    import torch

    logits = model.get_base_model()(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        layout=batch.layout,
        use_cache=False,
        logits_to_keep=batch.predictors,
    ).logits[0]
    loss = torch.nn.functional.cross_entropy(logits.float(), batch.targets)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def _require_finite(loss: float, number: int, tuning: Tuning) -> None:
    if not math.isfinite(loss):
        raise StepladderError(
            f"the loss became {loss} at step {number}",
            where="finetune",
            remedy=f"lower tuning.learning_rate in params.yaml (it is {tuning.learning_rate})",
        )
