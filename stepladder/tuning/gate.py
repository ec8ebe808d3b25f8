"""Whether there are enough examples to train on, and whether they can be trusted."""

from __future__ import annotations

from stepladder.settings import Tuning
from stepladder.tasks import Strict


class ExampleQuality(Strict):
    """What the examples are worth.

    Attributes:
        given: rows of ``examples.jsonl``.
        duplicates: rows left out because another says the same.
        train: rows that an adapter may learn from.
        disputed: of these, inputs that another row answers differently: one of the two is wrong.
        malformed: of these, answers that do not parse against the task's schema.
    """

    given: int
    duplicates: int
    train: int
    disputed: int = 0
    malformed: int = 0

    @property
    def sound(self) -> int:
        """Rows that an adapter may learn from and that nothing speaks against."""
        return self.train - self.disputed - self.malformed


def refuse_too_few(count: int, tuning: Tuning, task: str) -> str | None:
    """Why an adapter is not trained on ``count`` examples; None if it may be."""
    if count >= tuning.min_examples or tuning.allow_few_examples:
        return None
    return (
        f"{task} has {count:,} training examples, fewer than tuning.min_examples = {tuning.min_examples:,}:"
        " on so few, an adapter learns the examples by heart rather than the behaviour."
        " Add examples, or set tuning.allow_few_examples: true in params.yaml to train all the same."
    )


def refuse_doubtful(quality: ExampleQuality, most_doubtful: float, task: str) -> str | None:
    """Why an adapter is not trained on examples of this quality; None if it may be.

    Args:
        quality: of the examples.
        most_doubtful: largest share of rows in doubt, in [0, 1].
        task: for the message.
    """
    doubtful = quality.disputed + quality.malformed
    if not quality.train or doubtful / quality.train <= most_doubtful:
        return None
    return (
        f"{doubtful:,} of {task}'s {quality.train:,} training examples are in doubt"
        f" ({quality.disputed:,} answered differently by another row, {quality.malformed:,} not in the task's"
        f" schema), more than climb.most_doubtful = {most_doubtful:.0%}: an adapter learns their faults too."
        " build/prepared names them; mend them first."
    )
