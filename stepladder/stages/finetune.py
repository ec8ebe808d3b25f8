"""Train an adapter where diagnose says that it can help; otherwise write why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepladder.console import progress, say
from stepladder.data.prepare import load_prepared
from stepladder.files import digest_folder, read_json, writing
from stepladder.knowledge.chunk import Chunk
from stepladder.models import model_digest, require_base
from stepladder.prompting.compose import Plan, compose
from stepladder.prompting.context import fit_context
from stepladder.releases import short
from stepladder.stages.answering import Contexts, contexts_of
from stepladder.stages.records import Skipped, TrainingRecord
from stepladder.stages.workspace import Workspace, save
from stepladder.tasks import Example, Task
from stepladder.tuning.estimate import Estimate, estimate, known_rate, remember_rate
from stepladder.tuning.forgetting import forgetting
from stepladder.tuning.gate import refuse_too_few
from stepladder.tuning.rows import TrainingRow, contexts_for_training, fit_budget, load_tokenizer, tokenise
from stepladder.tuning.train import TrainingResult, train

_BLOCK = 128


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


def _tune(workspace: Workspace, task: Task, examples: list[Example], out: Path) -> None:
    settings = workspace.settings
    base = require_base(settings.models.base)
    rows, dropped = _rows(workspace, task, examples, base)
    planned = estimate(
        rows,
        settings.tuning,
        known_rate(_rates(workspace), settings.tuning),
        settings.cost.training_per_hour,
    )
    say(f"finetune {task.name}: {len(rows)} examples; {planned.summary()}")
    checkpoints = workspace.scratch / "training" / task.name
    with progress(f"finetune {task.name}", "tokens") as on_progress:
        result = train(
            base,
            rows,
            settings.tuning,
            settings.seed,
            checkpoints,
            lambda step: on_progress(step.tokens, planned.tokens),
        )
    remember_rate(_rates(workspace), result.tokens_per_s)
    (checkpoints / "adapter").rename(out / "adapter")
    _record(workspace, task, out, base, result, planned, dropped)


def _rates(workspace: Workspace) -> Path:
    return workspace.scratch / "training" / "rate.json"


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
    lost = forgetting(base, merged)
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


def _rows(
    workspace: Workspace, task: Task, examples: list[Example], base: str
) -> tuple[list[TrainingRow], dict[str, int]]:
    """Token rows within the budget; a block at a time, so that no more is retrieved than is used."""
    import random

    settings = workspace.settings
    tokenizer = load_tokenizer(base)
    shuffled = random.Random(settings.seed).sample(examples, len(examples))
    rows: list[TrainingRow] = []
    with contexts_of(workspace, task) as contexts:
        for start in range(0, len(shuffled), _BLOCK):
            rows += _block(workspace, task, shuffled[start : start + _BLOCK], contexts, tokenizer, start)
            if sum(row.tokens for row in rows) >= settings.size.train_tokens:
                break
    return fit_budget(
        rows,
        settings.size.train_tokens,
        settings.engine.max_model_len,
        settings.tuning.epochs,
        settings.seed,
    )


def _block(
    workspace: Workspace, task: Task, block: list[Example], contexts: Contexts, tokenizer: object, start: int
) -> list[TrainingRow]:
    settings = workspace.settings
    plan = Plan(
        rung="lora+rag" if task.has_knowledge else "lora", context_tokens=settings.size.context_tokens
    )

    def fit(chunks: Sequence[Chunk]) -> list[Chunk]:
        return fit_context(chunks, plan.context_tokens, contexts.count_tokens)

    chosen = contexts_for_training(
        block,
        contexts.retrieved([example.input for example in block]),
        contexts.gold([example.evidence for example in block]),
        settings.tuning.gold_rate,
        settings.seed + start,
        fit,
    )
    rows = []
    for example, context in zip(block, chosen, strict=True):
        request, _ = compose(task, plan, example.input, context.chunks, contexts.count_tokens)
        answer = example.output if context.answerable else task.spec.abstention or example.output
        rows.append(tokenise(tokenizer, request.messages, answer, example.id))
    return rows


def merged_model(workspace: Workspace, base: str, adapter: Path, adapter_digest: str) -> Path:
    """The base with the adapter merged into it, for engines that serve no adapters well (CPU); made once."""
    from stepladder.tuning.merge import merge

    folder = workspace.merged / short(adapter_digest)
    if not folder.is_dir():
        with writing(folder) as draft:
            merge(base, adapter, draft)
    return folder
