from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepladder.errors import StepladderError
from stepladder.settings import Tuning
from stepladder.tuning import train as module
from stepladder.tuning.allocation import free_gpu_memory
from stepladder.tuning.checkpoint import Progress, load_checkpoint, save_checkpoint
from stepladder.tuning.rows import TrainingRow
from stepladder.tuning.train import Step, schedule, train

TUNING = Tuning(
    rank=4,
    alpha=8,
    learning_rate=0.05,
    lora_plus_ratio=1,
    epochs=3,
    batch_size=4,
    bucket=8,
    checkpoint_every=2,
)
ROWS = [TrainingRow([5, 6, 20 + number], [40, 1], str(number)) for number in range(10)]


class KilledError(Exception):
    pass


def ignore(step: Step) -> None:
    pass


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_it_learns_and_says_how_far_it_is(tiny_llama: Path, tmp_path: Path) -> None:
    steps: list[Step] = []
    tuning = TUNING.model_copy(update={"epochs": 10})
    result = train(tiny_llama, ROWS, tuning, 0, tmp_path, steps.append)
    assert result.steps == len(result.losses) == 30
    assert result.tokens == 10 * 50 == steps[-1].tokens
    assert result.final_loss == pytest.approx(sum(result.losses[-3:]) / 3)
    assert result.final_loss < 0.5 * result.losses[0]
    assert [step.number for step in steps] == list(range(1, 31))
    assert result.resumed_from is None
    assert result.tokens_per_s == pytest.approx(result.tokens / result.seconds)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 8, "LORA")


def test_it_learns_from_real_chats(real_llama: Path, real_rows: list[TrainingRow], tmp_path: Path) -> None:
    result = train(real_llama, real_rows, TUNING, 0, tmp_path, ignore)
    assert result.steps == 3
    assert result.tokens == 3 * sum(row.tokens for row in real_rows)
    assert result.losses[-1] < result.losses[0] < math.inf


def test_faster_b_matrices_learn_more_from_the_same_steps(tiny_llama: Path, tmp_path: Path) -> None:
    slow = TUNING.model_copy(update={"learning_rate": 0.002})
    fast = slow.model_copy(update={"lora_plus_ratio": 8.0})
    losses = [train(tiny_llama, ROWS, t, 0, tmp_path / str(t.lora_plus_ratio), ignore) for t in (slow, fast)]
    assert losses[1].final_loss < losses[0].final_loss


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    tiny_llama: Path, tmp_path: Path, dropout: float
) -> None:
    tuning = TUNING.model_copy(update={"dropout": dropout})

    def kill_at_five(step: Step) -> None:
        if step.number == 5:
            raise KilledError

    whole = train(tiny_llama, ROWS, tuning, 0, tmp_path / "whole", ignore)
    with pytest.raises(KilledError):
        train(tiny_llama, ROWS, tuning, 0, tmp_path / "cut", kill_at_five)
    rest = train(tiny_llama, ROWS, tuning, 0, tmp_path / "cut", ignore)
    assert rest.resumed_from == 4
    assert rest.losses == whole.losses
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_checkpoint_of_another_run_is_not_used(tiny_llama: Path, tmp_path: Path) -> None:
    train(tiny_llama, ROWS, TUNING, 0, tmp_path, ignore)
    again = train(tiny_llama, ROWS, TUNING, 0, tmp_path, ignore)
    assert again.resumed_from == again.steps
    assert train(tiny_llama, ROWS, TUNING, 1, tmp_path, ignore).resumed_from is None
    assert train(tiny_llama, ROWS[1:], TUNING, 1, tmp_path, ignore).resumed_from is None


def compute_in(patch: pytest.MonkeyPatch, dtype: str) -> None:
    for place in ("stepladder.hardware", "stepladder.tuning.checkpoint"):
        patch.setattr(f"{place}.preferred_dtype", lambda: dtype)


def test_a_checkpoint_in_another_number_format_is_not_used(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype in ("float32", "bfloat16"):
        compute_in(monkeypatch, dtype)
        assert train(tiny_llama, ROWS[:4], TUNING, 0, tmp_path, ignore).resumed_from is None


def test_trained_weights_are_float32_beside_a_base_in_bfloat16(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    frozen: set[torch.dtype] = set()

    def adapted(*given: Any) -> Any:
        model = adapt(*given)
        frozen.update(weight.dtype for weight in model.parameters() if not weight.requires_grad)
        return model

    adapt = module._adapted_model
    compute_in(monkeypatch, "bfloat16")
    monkeypatch.setattr(module, "_adapted_model", adapted)
    train(tiny_llama, ROWS[:4], TUNING, 0, tmp_path, ignore)
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert frozen == {torch.bfloat16}
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("spoil", [_cut, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(
    tiny_llama: Path, tmp_path: Path, name: str, spoil: Callable[[Path], object]
) -> None:
    train(tiny_llama, ROWS, TUNING, 0, tmp_path, ignore)
    spoil(tmp_path / "checkpoint" / name)
    if name == "state.json" and spoil is Path.unlink:  # no checkpoint then
        assert train(tiny_llama, ROWS, TUNING, 0, tmp_path, ignore).resumed_from is None
        return
    before = weights(tmp_path)
    with pytest.raises(StepladderError, match="checkpoint is damaged") as caught:
        train(tiny_llama, ROWS, TUNING, 0, tmp_path, ignore)
    assert caught.value.where == str(tmp_path / "checkpoint")
    assert "delete that folder" in caught.value.remedy
    assert weights(tmp_path) == before


def test_what_the_optimiser_knows_of_a_weight_goes_where_the_weight_lies(tmp_path: Path) -> None:
    """The meta device stands in for a GPU."""
    import torch

    def made(device: str) -> tuple[dict[str, torch.nn.Parameter], torch.optim.Optimizer]:
        weights = {"w": torch.nn.Parameter(torch.ones(2, device=device))}
        return weights, torch.optim.AdamW(weights.values())

    weights, optimizer = made("cpu")
    weights["w"].sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "c", "d", Progress(1, 1, 1.0, [1.0]), weights, optimizer)
    weights, optimizer = made("meta")
    assert load_checkpoint(tmp_path / "c", "d", weights, optimizer)
    state = optimizer.state[weights["w"]]
    assert {part: str(tensor.device) for part, tensor in state.items()} == {
        "step": "meta",
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }


def test_checkpoints_hold_no_pickles(tiny_llama: Path, tmp_path: Path) -> None:
    train(tiny_llama, ROWS, TUNING, 0, tmp_path, ignore)
    assert {path.name for path in (tmp_path / "checkpoint").iterdir()} == {"state.json", "state.safetensors"}


def test_a_loss_that_is_not_finite_stops_the_run(tiny_llama: Path, tmp_path: Path) -> None:
    wild = TUNING.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(StepladderError, match="loss became"):
        train(tiny_llama, ROWS, wild, 0, tmp_path, ignore)
    assert not (tmp_path / "adapter").exists()


def test_no_rows_is_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="train_tokens"):
        train(tiny_llama, [], TUNING, 0, tmp_path, ignore)


def test_the_learning_rate_rises_then_falls_to_nearly_nothing() -> None:
    shares = [schedule(number, 100, 0.05) for number in range(1, 101)]
    assert shares[:5] == sorted(shares[:5])
    assert shares[4] == 1.0
    assert shares[5:] == sorted(shares[5:], reverse=True)
    assert 0 < shares[-1] < 0.01
    assert schedule(1, 1, 0.05) == 1.0
    assert [schedule(number, 4, 0.5) for number in (1, 2)] == [0.5, 1.0]


def test_only_the_layers_that_are_named_get_an_adapter(tiny_llama: Path, tmp_path: Path) -> None:
    tuning = TUNING.model_copy(update={"target_modules": ["v_proj", "q_proj"]})
    train(tiny_llama, ROWS[:4], tuning, 0, tmp_path, ignore)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["q_proj", "v_proj"]


def test_layers_that_the_model_has_not_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    tuning = TUNING.model_copy(update={"target_modules": ["sing"]})
    with pytest.raises(StepladderError, match="no adapter fits the base model: Target modules") as caught:
        train(tiny_llama, ROWS[:4], tuning, 0, tmp_path, ignore)
    assert caught.value.where == "tuning.target_modules in params.yaml"


def test_a_small_clip_lets_a_step_change_less(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    def moment(clip: float) -> float:
        tuning = TUNING.model_copy(update={"clip": clip, "epochs": 1})
        train(tiny_llama, ROWS[:4], tuning, 0, tmp_path / str(clip), ignore)
        tensors = load_file(tmp_path / str(clip) / "checkpoint" / "state.safetensors")
        return float(sum(value.norm() for name, value in tensors.items() if name.startswith("exp_avg/")))

    assert 0 < moment(1e-6) < 1e-3 * moment(1.0)


def test_nothing_of_the_model_is_left_when_a_gpus_memory_is_given_back(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[weakref.ref[Any]] = []
    left: list[object] = []

    def adapted(*given: Any) -> Any:
        model = adapt(*given)
        models.append(weakref.ref(model))
        return model

    def free() -> None:
        gc.collect()
        left.extend(model() for model in models)

    adapt = module._adapted_model
    monkeypatch.setattr(module, "_adapted_model", adapted)
    monkeypatch.setattr(module, "free_gpu_memory", free)
    train(tiny_llama, ROWS[:4], TUNING, 0, tmp_path, ignore)
    assert left == [None]


def test_what_refers_to_itself_is_gone_before_the_card_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    import torch

    knot = weakref.ref(Knot())
    seen: list[object] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(knot()))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gc.disable()
    try:
        free_gpu_memory()
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        free_gpu_memory()
    finally:
        gc.enable()
    assert seen == [None]


@pytest.mark.gpu
def test_on_a_gpu_it_trains_in_bfloat16_and_goes_on_after_a_kill(tiny_llama: Path, tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    tuning = TUNING.model_copy(update={"epochs": 1, "batch_size": 5, "checkpoint_every": 1})
    dtypes: set[tuple[str, torch.dtype]] = set()

    def adapted(*given: Any) -> Any:
        model = adapt(*given)
        dtypes.update((w.device.type, w.dtype) for w in model.parameters() if not w.requires_grad)
        return model

    def kill_at_two(step: Step) -> None:
        if step.number == 2:
            raise KilledError

    adapt = module._adapted_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_adapted_model", adapted)
        with pytest.raises(KilledError):
            train(tiny_llama, ROWS, tuning, 0, tmp_path, kill_at_two)
        result = train(tiny_llama, ROWS, tuning, 0, tmp_path, ignore)
    assert dtypes == {("cuda", torch.bfloat16)}
    assert (result.steps, result.resumed_from) == (2, 1)
    assert all(map(math.isfinite, result.losses))
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
