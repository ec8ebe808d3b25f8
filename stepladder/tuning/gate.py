"""Whether there are enough examples to train on."""

from __future__ import annotations

from stepladder.settings import Tuning


def refuse_too_few(count: int, tuning: Tuning, task: str) -> str | None:
    """Why an adapter is not trained on ``count`` examples; None if it may be."""
    if count >= tuning.min_examples or tuning.allow_few_examples:
        return None
    return (
        f"{task} has {count:,} training examples, fewer than tuning.min_examples = {tuning.min_examples:,}:"
        " on so few, an adapter learns the examples by heart rather than the behaviour."
        " Add examples, or set tuning.allow_few_examples: true in params.yaml to train all the same."
    )
