"""A training run's state on disk, in JSON and safetensors: adapter, optimiser, place in the run, losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stepladder.errors import StepladderError
from stepladder.files import digest_value, read_json, write_json, writing
from stepladder.hardware import preferred_dtype
from stepladder.models import model_digest
from stepladder.settings import Tuning
from stepladder.tasks import Strict
from stepladder.tuning.rows import TrainingRow

if TYPE_CHECKING:
    import torch

# Changing these does not change what is learned.
_IRRELEVANT = {
    "checkpoint_every",
    "min_examples",
    "allow_few_examples",
    "gold_rate",
    "by_task",  # the others say what holds
    "cpu_tokens_per_s",
    "gpu_tokens_per_s",
}


class _State(Strict):
    digest: str
    step: int
    tokens: int
    seconds: float
    losses: list[float]


@dataclass(frozen=True)
class Progress:
    """How far a run has come: steps done, tokens read, seconds spent, and the loss of each step."""

    step: int
    tokens: int
    seconds: float
    losses: list[float]


def run_digest(base: str, rows: Sequence[TrainingRow], tuning: Tuning, seed: int) -> str:
    """Digest of all that decides what a run learns, its code left out."""
    return digest_value(
        {
            "base": model_digest(base),
            "rows": [[row.prompt_ids, row.answer_ids] for row in rows],
            "tuning": tuning.model_dump(exclude=_IRRELEVANT),
            "seed": seed,
            "dtype": preferred_dtype(),
        }
    )


def save_checkpoint(
    folder: Path,
    digest: str,
    progress: Progress,
    weights: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        StepladderError: the disk is full or the folder not writable.
    """
    import torch
    from safetensors.torch import save_file

    tensors = {f"weight/{name}": value.detach().contiguous() for name, value in weights.items()}
    for name, value in weights.items():
        for part, moment in optimizer.state[value].items():
            tensors[f"{part}/{name}"] = torch.as_tensor(moment).contiguous()
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random-cuda"] = torch.cuda.get_rng_state()
    state = _State(digest=digest, **vars(progress))
    with writing(folder) as draft:
        draft.mkdir()
        save_file(tensors, draft / "state.safetensors")
        write_json(draft / "state.json", state.model_dump())


def load_checkpoint(
    folder: Path, digest: str, weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> Progress | None:
    """Put a checkpoint's tensors in place; None if there is none, or it is of another run.

    Raises:
        StepladderError: it is damaged.
    """
    from safetensors import SafetensorError

    if not (folder / "state.json").is_file():
        return None
    try:
        state = _State.model_validate(read_json(folder / "state.json"))
        if state.digest == digest:
            _restore(folder / "state.safetensors", weights, optimizer)
    # Half a file, tensors missing or of other shapes: whatever it is, it is not what `save_checkpoint` wrote.
    except (StepladderError, ValidationError, SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise StepladderError(
            f"the training checkpoint is damaged: {str(error).splitlines()[0]}",
            where=str(folder),
            remedy="delete that folder and run the same command again: training starts anew",
        ) from error
    if state.digest != digest:
        return None
    return Progress(state.step, state.tokens, state.seconds, state.losses)


def _restore(path: Path, weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Put the tensors in place, and the random numbers where they were."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(path)
    torch.set_rng_state(tensors.pop("random"))
    if (on_gpu := tensors.pop("random-cuda", None)) is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(on_gpu)
    with torch.no_grad():
        for key, tensor in tensors.items():
            part, name = key.split("/", 1)
            if part == "weight":
                weights[name].copy_(tensor)
            else:
                # The step count too: fused, AdamW reads it where the weight lies.
                optimizer.state[weights[name]][part] = tensor.to(weights[name].device)
