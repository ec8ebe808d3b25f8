"""A pilot: short trainings on slices of the examples, each asked the dev rows, to see where they lead."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import NamedTuple

from stepladder.console import progress, say
from stepladder.data.prepare import Prepared
from stepladder.evaluation.evaluate import as_cases
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.respond import responding
from stepladder.files import digest_folder
from stepladder.ladder.pilot import largest_slice, predict, slice_budgets
from stepladder.models import require_base
from stepladder.stages.answering import Assistant, contexts_of, responder_for
from stepladder.stages.evaluate_tuned import tuned_plan
from stepladder.stages.finetune import merged_model
from stepladder.stages.training_rows import training_rows
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Case, Task
from stepladder.tuning.curve import Prediction, is_curve
from stepladder.tuning.estimate import remember_training_rate
from stepladder.tuning.rows import TrainingRow, fit_budget
from stepladder.tuning.train import train


class NoPrediction(NamedTuple):
    """Why a pilot tells nothing."""

    reason: str


def run_pilot(
    workspace: Workspace, task: Task, rows: Prepared, tokens: int, target: int
) -> Prediction | NoPrediction:
    """Train on slices that together read ``tokens``, and predict the score after ``target`` tokens.

    Each slice is a training of its own, with its whole schedule, on the first part of the next one's rows.
    Where the examples are too few for three slices nothing is trained, and the reason is returned.

    Raises:
        StepladderError: training or the engine fails.
    """
    settings = workspace.settings
    largest, _ = training_rows(workspace, task, rows.train, largest_slice(tokens))
    there_are = sum(row.tokens for row in largest) * settings.tuning.epochs
    parts = [
        fit_budget(largest, budget, settings.engine.max_model_len, settings.tuning.epochs, settings.seed)[0]
        for budget in slice_budgets(there_are)
    ]
    read = [sum(row.tokens for row in part) * settings.tuning.epochs for part in parts]
    if not is_curve(read):
        sizes = ", ".join(f"{one:,}" for one in read)
        return NoPrediction(f"the pilot's three slices would read {sizes} tokens, which makes no curve")
    dev = as_cases(rows.dev, task.spec.scorer)
    outcomes = [_slice(workspace, task, part, dev) for part in parts]
    found = predict(read, outcomes, target, settings.evaluation.confidence, settings.seed)
    points = ", ".join(f"{point.score:.2f} after {point.tokens:,} tokens" for point in found.points)
    say(
        f"pilot {task.name}: {points}; expected after {found.tokens:,}: {found.score:.2f}"
        f" ({found.low:.2f} to {found.high:.2f})"
    )
    return found


def _slice(
    workspace: Workspace, task: Task, rows: Sequence[TrainingRow], dev: Sequence[Case]
) -> RungOutcomes:
    """What an adapter trained on these rows answers on dev."""
    settings = workspace.settings
    base = require_base(settings.models.base)
    folder = workspace.scratch / "pilot" / task.name / str(len(rows))
    tokens = sum(row.tokens for row in rows) * settings.tuning.epochs
    with progress(f"pilot {task.name}, {len(rows)} examples", "tokens") as on_progress:
        result = train(
            base,
            rows,
            settings.tuning.of(task.name),
            settings.seed,
            folder,
            lambda step: on_progress(step.tokens, tokens),
        )
    remember_training_rate(workspace.rates, settings, task.name, result.tokens_per_s)
    digest = digest_folder(folder / "adapter")
    merged = merged_model(workspace, base, folder / "adapter", digest)
    plan = tuned_plan(workspace, task, "lora+rag" if task.has_knowledge else "lora")
    with (
        workspace.responses() as cache,
        contexts_of(workspace, task) as contexts,
        responding(responder_for(workspace, cache, str(merged), base, digest)) as responder,
    ):
        outcomes = Assistant(task, contexts, responder).answer(plan, dev, "pilot, dev")
    shutil.rmtree(merged)  # as large as the base model, and not wanted again
    return outcomes
