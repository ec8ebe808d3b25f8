"""What the finetune stage leaves behind."""

from __future__ import annotations

from stepladder.tasks import Strict
from stepladder.tuning.estimate import Estimate
from stepladder.tuning.forgetting import Forgetting
from stepladder.tuning.train import TrainingResult


class Skipped(Strict):
    """Why there is no adapter."""

    reason: str


class TrainingRecord(Strict):
    """An adapter's origin, cost and side effects."""

    adapter_digest: str
    base_digest: str
    estimate: Estimate
    result: TrainingResult
    forgetting: Forgetting
    dropped: dict[str, int]
