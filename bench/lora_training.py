"""LoRA training: tokens a second here and with TRL's SFTTrainer as it comes, on the same rows and steps.

    python bench/lora_training.py [--task terraform-review] [--steps 40] [--batch-size 8] [--plain] [--json]

Both train rank-16 adapters on all linear layers in the same number format, on the same batches in the same
order, with the same learning rate and warm-up. SFTTrainer as it comes takes batches of 8; ``--batch-size 2``
is what the sample ``terraform-review`` trains with. ``--plain`` turns gradient
checkpointing, which SFTTrainer has on by default, off: the comparison with a trainer set up with more care.
Tokens are those of the rows, prompt and answer, without padding. Beside the mean loss of the last steps
stands their standard deviation; below it the mean difference, step by step on the same rows, with its own.
SFTTrainer's first step has a rate of 0, so it is one step behind: too few steps compare that.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from stepladder.prompting.compose import Plan, compose
from stepladder.settings import Tuning, load_settings
from stepladder.tasks import load_task
from stepladder.tuning.packing import plan_batches
from stepladder.tuning.rows import TrainingRow, load_tokenizer, tokenise
from stepladder.tuning.train import train

_LAST = 10  # steps whose loss is compared: one step's is that of its few rows


def task_rows(name: str, base: str, count: int) -> list[TrainingRow]:
    """The first examples of a task without knowledge, as the finetune stage tokenises them."""
    task = load_task(Path("tasks") / name)
    tokenizer = load_tokenizer(base)
    plan = Plan(rung="lora", context_tokens=0)
    rows = []
    for example in task.examples[:count]:
        request, _ = compose(task, plan, example.input, [], lambda text: len(text.split()))
        rows.append(tokenise(tokenizer, request.messages, example.output, example.id))
    return rows


def ours(base: str, rows: list[TrainingRow], tuning: Tuning, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        result = train(base, rows, tuning, seed, Path(folder), lambda _: None)
    return {"tokens_per_s": result.tokens_per_s, "losses": result.losses}


def trl(base: str, rows: list[TrainingRow], tuning: Tuning, seed: int, plain: bool) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    from stepladder.hardware import device, preferred_dtype

    tokenizer = load_tokenizer(base)
    order = [row for step in plan_batches(len(rows), tuning.batch_size, 1, seed) for row in step]
    data = Dataset.from_list(
        [
            {
                "prompt": tokenizer.decode(rows[row].prompt_ids),
                "completion": tokenizer.decode(rows[row].answer_ids),
            }
            for row in order
        ]
    )
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, preferred_dtype()))
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=tuning.batch_size,
            num_train_epochs=1,
            learning_rate=tuning.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, round(len(rows) / tuning.batch_size * tuning.warm_up)),
            max_grad_norm=tuning.clip,
            use_cpu=device() == "cpu",
            bf16=preferred_dtype() == "bfloat16",
            train_sampling_strategy="sequential",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
            **({"gradient_checkpointing": False} if plain else {}),
        )
        lora = LoraConfig(
            r=tuning.rank,
            lora_alpha=tuning.alpha,
            lora_dropout=tuning.dropout,
            target_modules=tuning.target_modules,
            task_type="CAUSAL_LM",
        )
        trainer = SFTTrainer(
            model, args=config, train_dataset=data, peft_config=lora, processing_class=tokenizer
        )
        seconds = trainer.train().metrics["train_runtime"]
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return {"tokens_per_s": sum(row.tokens for row in rows) / seconds, "losses": losses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="terraform-review")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=8, help="rows a step; 8 is SFTTrainer's default")
    parser.add_argument("--plain", action="store_true", help="SFTTrainer without gradient checkpointing")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.steps < _LAST:
        parser.error(f"--steps: {_LAST} at least, whose losses are compared")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    settings = load_settings()
    base = settings.models.base
    tuning = settings.tuning.of(options.task).model_copy(
        # One learning rate, as SFTTrainer has it.
        update={"epochs": 1, "lora_plus_ratio": 1.0, "batch_size": options.batch_size}
    )
    rows = task_rows(options.task, base, options.steps * tuning.batch_size)
    found = {
        "ours": ours(base, rows, tuning, settings.seed),
        "trl": trl(base, rows, tuning, settings.seed, options.plain),
    }
    for result in found.values():
        tail = result["losses"][-_LAST:]
        result |= {"last_loss": mean(tail), "last_loss_sd": stdev(tail)}
    pairs = zip(*(result["losses"][-_LAST:] for result in found.values()), strict=True)
    differences = [here - there for here, there in pairs]
    apart = {"mean": mean(differences), "sd": stdev(differences)}
    ratio = found["ours"]["tokens_per_s"] / found["trl"]["tokens_per_s"]
    if options.json:
        print(json.dumps({**found, "loss_difference": apart, "ratio": ratio}))
        return
    for name, result in found.items():
        loss = f"{result['last_loss']:.3f} (sd {result['last_loss_sd']:.3f})"
        print(f"{name:5} {result['tokens_per_s']:6.0f} tokens/s, loss of the last {_LAST} steps {loss}")
    print(f"loss here minus there, on the same rows {apart['mean']:+.3f} (sd {apart['sd']:.3f})")
    print(f"ratio {ratio:6.2f}")


if __name__ == "__main__":
    main()
