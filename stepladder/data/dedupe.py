"""Examples that say the same twice: the first is kept."""

from __future__ import annotations

from typing import Literal

from stepladder.data.duplicates import near_duplicates, normal_form
from stepladder.tasks import Example, Strict


class Dropped(Strict):
    """An example left out, and the earlier one that it repeats.

    ``conflict`` says that the two give different answers to the same input: one of them is likely wrong.
    """

    id: str
    kept: str
    kind: Literal["exact", "near"]
    similarity: float
    conflict: bool


def drop_duplicates(examples: list[Example], threshold: float) -> tuple[list[Example], list[Dropped]]:
    """Keep the first of each group of duplicates.

    An example repeats an earlier one when its input is the same but for case and white space, whatever
    the answer (a model cannot learn two answers to one question), or when its input is a near-duplicate
    and its answer is the same. Near-duplicates with different answers stay: such a pair shows the one word
    that matters. No two of the examples returned repeat each other, so a second call drops nothing.

    Args:
        examples: in file order.
        threshold: least Jaccard similarity of near-duplicates, in (0, 1].
    """
    distinct, exact = _drop_exact(examples)
    kept, near = _drop_near(distinct, threshold)
    heir = {item.id: item.kept for item in near}
    exact = [item.model_copy(update={"kept": heir.get(item.kept, item.kept)}) for item in exact]
    position = {example.id: number for number, example in enumerate(examples)}
    return kept, sorted(exact + near, key=lambda item: position[item.id])


def _drop_exact(examples: list[Example]) -> tuple[list[Example], list[Dropped]]:
    first: dict[str, Example] = {}
    dropped = []
    for example in examples:
        earlier = first.setdefault(normal_form(example.asked), example)
        if earlier is not example:
            dropped.append(_dropped(example, earlier, "exact", 1.0))
    return list(first.values()), dropped


def _drop_near(examples: list[Example], threshold: float) -> tuple[list[Example], list[Dropped]]:
    answers = [normal_form(example.output) for example in examples]
    gone: dict[int, Dropped] = {}
    # Pairs come in order of (i, j): whether i itself was dropped is known before i is used to drop others.
    for i, j, similarity in near_duplicates([example.asked for example in examples], None, threshold):
        if i not in gone and j not in gone and answers[i] == answers[j]:
            gone[j] = _dropped(examples[j], examples[i], "near", similarity)
    kept = [example for number, example in enumerate(examples) if number not in gone]
    return kept, list(gone.values())


def _dropped(later: Example, earlier: Example, kind: Literal["exact", "near"], similarity: float) -> Dropped:
    conflict = normal_form(later.output) != normal_form(earlier.output)
    return Dropped(
        id=later.id, kept=earlier.id, kind=kind, similarity=round(similarity, 4), conflict=conflict
    )
