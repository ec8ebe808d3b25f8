"""Train an adapter where diagnose says that it can help; otherwise write why not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from stepladder.console import progress, say
from stepladder.data.prepare import load_prepared
from stepladder.engine import dtype_of
from stepladder.files import digest_folder, read_json, writing
from stepladder.models import model_digest, require_base
from stepladder.releases import short
from stepladder.settings import Tuning
from stepladder.stages.records import Skipped, TrainingRecord
from stepladder.stages.training_rows import training_rows
from stepladder.stages.workspace import Workspace, save
from stepladder.tasks import Example, Task
from stepladder.tuning.estimate import Estimate, estimate, remember_training_rate, training_rate
from stepladder.tuning.forgetting import forgetting
from stepladder.tuning.gate import refuse_too_few
from stepladder.tuning.rows import TrainingRow
from stepladder.tuning.train import TrainingResult, train


def run(workspace: Workspace, name: str) -> None:
    """Write the adapter with its training record, or ``skipped.json`` with the reason."""
    task = workspace.task(name)
    examples = load_prepared(workspace.prepared(name)).train
    decision = read_json(workspace.decision(name))
    reason = (
        refuse_too_few(len(examples), workspace.settings.tuning, name)
        if decision["train"]
        else str(decision["reason"])
    )
    with writing(workspace.tuned(name)) as draft:
        draft.mkdir()
        if reason:
            say(f"finetune {name}: skipped. {reason}")
            save(draft / "skipped.json", Skipped(reason=reason))
        else:
            _tune(workspace, task, examples, draft)
    if not reason:
        # Kept until the output stands, for a kill on the way. A forced rerun is to learn anew.
        shutil.rmtree(_checkpoints(workspace, name), ignore_errors=True)


def _tune(workspace: Workspace, task: Task, examples: list[Example], out: Path) -> None:
    settings = workspace.settings
    tuning = settings.tuning.of(task.name)
    base = require_base(settings.models.base)
    rows, dropped = training_rows(workspace, task, examples, settings.size.tokens_to_train(task.name))
    rate = training_rate(workspace.rates, settings, task.name)
    planned = estimate(rows, tuning, rate, settings.cost.training_per_hour)
    say(f"finetune {task.name}: {_of(rows, examples, tuning)}; {planned.summary()}")
    checkpoints = _checkpoints(workspace, task.name)
    with progress(f"finetune {task.name}", "tokens") as on_progress:
        result = train(
            base,
            rows,
            tuning,
            settings.seed,
            checkpoints,
            lambda step: on_progress(step.tokens, planned.tokens),
        )
    remember_training_rate(workspace.rates, settings, task.name, result.tokens_per_s)
    (checkpoints / "adapter").rename(out / "adapter")
    _record(workspace, task, out, base, result, planned, dropped)


def _checkpoints(workspace: Workspace, name: str) -> Path:
    return workspace.scratch / "training" / name


def _of(rows: Sequence[TrainingRow], examples: Sequence[Example], tuning: Tuning) -> str:
    """How many examples are read, and what it means where the budget leaves few."""
    told = f"{len(rows):,} of {len(examples):,} examples fit sizes.*.train_tokens and the context"
    if len(rows) >= min(len(examples), tuning.min_examples):
        return told
    return f"{told}, fewer than tuning.min_examples ({tuning.min_examples:,}): all would teach more"


def _record(
    workspace: Workspace,
    task: Task,
    out: Path,
    base: str,
    result: TrainingResult,
    planned: Estimate,
    dropped: dict[str, int],
) -> None:
    adapter_digest = digest_folder(out / "adapter")
    merged = merged_model(workspace, base, out / "adapter", adapter_digest)
    with progress(f"forgetting {task.name}", "general questions") as on_progress:
        lost = forgetting(base, merged, on_item=on_progress)
    record = TrainingRecord(
        adapter_digest=adapter_digest,
        base_digest=model_digest(base),
        estimate=planned,
        result=result,
        forgetting=lost,
        dropped=dropped,
    )
    save(out / "training.json", record)
    say(
        f"finetune {task.name}: {result.tokens} tokens at {result.tokens_per_s:.0f}/s,"
        f" loss {result.final_loss:.3f}; perplexity on general text {lost.before:.1f} -> {lost.after:.1f}"
    )


def merged_model(workspace: Workspace, base: str, adapter: Path, adapter_digest: str) -> Path:
    """The base with the adapter merged into it, for engines that serve no adapters well (CPU); made once."""
    from stepladder.tuning.merge import merge

    folder = merged_folder(workspace, adapter_digest)
    if not folder.is_dir():
        dtype = dtype_of(workspace.settings.engine)
        say(f"merging an adapter into {base}, as {dtype}")
        merge(base, adapter, folder, dtype)
    return folder


def merged_folder(workspace: Workspace, adapter_digest: str) -> Path:
    """Where the merged model of an adapter lies, once it is made, in the number format of engines here."""
    return workspace.merged / f"{short(adapter_digest)}-{dtype_of(workspace.settings.engine)}"
