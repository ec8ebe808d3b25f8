"""Examples as token rows, with the passages that retrieval gives for them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from stepladder.knowledge.chunk import Chunk
from stepladder.models import require_base
from stepladder.prompting.compose import Plan, compose
from stepladder.prompting.context import fit_context
from stepladder.stages.answering import Contexts, contexts_of
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Example, Task
from stepladder.tuning.rows import TrainingRow, contexts_for_training, fit_budget, load_tokenizer, tokenise

_BLOCK = 128


def training_rows(
    workspace: Workspace, task: Task, examples: list[Example], budget: int
) -> tuple[list[TrainingRow], dict[str, int]]:
    """Token rows within a budget; a block at a time, so that no more is retrieved than is used.

    Args:
        workspace: gives the base model's tokenizer, the documents and the settings.
        task: prompt and templates.
        examples: what there is to learn from.
        budget: tokens that training may read, all epochs together.

    Returns:
        The rows, and how many were left out as ``too_long`` and as ``over_budget``.
    """
    settings = workspace.settings
    longest, epochs = settings.engine.max_model_len, settings.tuning.epochs
    tokenizer = load_tokenizer(require_base(settings.models.base))
    shuffled = random.Random(settings.seed).sample(examples, len(examples))
    rows: list[TrainingRow] = []
    with contexts_of(workspace, task) as contexts:
        for start in range(0, len(shuffled), _BLOCK):
            rows += _block(workspace, task, shuffled[start : start + _BLOCK], contexts, tokenizer, start)
            if epochs * sum(row.tokens for row in rows if row.tokens <= longest) >= budget:
                break
    unread = len(shuffled) - len(rows)
    chosen, dropped = fit_budget(rows, budget, longest, epochs, settings.seed)
    return chosen, {**dropped, "over_budget": dropped["over_budget"] + unread}


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
        request, _ = compose(
            task, plan, example.input, context.chunks, contexts.count_tokens, example.history
        )
        # To abstain is taught where retrieval missed; an unanswerable example says so in its own words.
        missed = example.answerable and not context.answerable
        answer = (missed and task.spec.abstention) or example.output
        rows.append(tokenise(tokenizer, request.messages, answer, example.id))
    return rows
