"""The leakage guard: no case may stand in the examples, word for word, nearly so, or by its cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepladder.data.duplicates import near_duplicates, normal_form
from stepladder.data.endings import endings, near_endings
from stepladder.errors import StepladderError
from stepladder.tasks import Case, Example

_MOST_NAMED = 10


def find_leaks(cases: Sequence[Case], examples: Sequence[Example], threshold: float) -> list[str]:
    """Each leak in words, naming the case and the example; an empty list when there is none.

    Every user turn of an example is compared with every case's input, and so is what follows each blank line
    of the turn: an instruction put before a question does not hide it. One leak a case is told for its text
    (the nearest) and one for its cluster.

    Args:
        cases: the frozen test.
        examples: all that may be trained on or shown.
        threshold: least Jaccard similarity of near-duplicates, in (0, 1].
    """
    return _shared_texts(cases, examples, threshold) + _shared_clusters(cases, examples)


def require_no_leak(
    cases: Sequence[Case], examples: Sequence[Example], threshold: float, where: Path
) -> None:
    """Stop when a case stands in the examples.

    Raises:
        StepladderError: it names the first leaking rows and counts the rest.
    """
    leaks = find_leaks(cases, examples, threshold)
    if not leaks:
        return
    more = f"; and {len(leaks) - _MOST_NAMED} more" if len(leaks) > _MOST_NAMED else ""
    raise StepladderError(
        f"{len(leaks)} leaks of cases into the examples: {'; '.join(leaks[:_MOST_NAMED])}{more}",
        where=str(where),
        remedy="remove or change those examples (the cases are the frozen test: leave them), or give rows of"
        " different sources different clusters",
    )


def _shared_texts(cases: Sequence[Case], examples: Sequence[Example], threshold: float) -> list[str]:
    turns = [
        (example.id, message.content)
        for example in examples
        for message in example.messages
        if message.role == "user"
    ]
    texts = [text for _, text in turns]
    inputs = [case.input for case in cases]
    keys = [normal_form(text) for text in inputs]
    owners = _owners(turns, {len(key.split()) for key in keys})
    nearest: dict[int, tuple[float, str]] = {}
    for number, key in enumerate(keys):
        if owner := owners.get(key):
            nearest[number] = (2.0, f"case {cases[number].id!r} repeats example {owner!r} word for word")
    for pairs in (near_duplicates(inputs, texts, threshold), near_endings(inputs, texts, threshold)):
        for i, j, similarity in pairs:
            if i not in nearest or similarity > nearest[i][0]:
                told = f"is nearly example {turns[j][0]!r} (similarity {similarity:.2f})"
                nearest[i] = (similarity, f"case {cases[i].id!r} {told}")
    return [nearest[number][1] for number in sorted(nearest)]


def _owners(turns: Sequence[tuple[str, str]], lengths: set[int]) -> dict[str, str]:
    """By normal form of a turn, or of an ending of ``lengths`` words: the first example that has it."""
    owners: dict[str, str] = {}
    for owner, text in turns:
        for key in (normal_form(text), *endings(text, lengths)):
            owners.setdefault(key, owner)
    return owners


def _shared_clusters(cases: Sequence[Case], examples: Sequence[Example]) -> list[str]:
    owners: dict[str, str] = {}
    for example in examples:
        if example.cluster:
            owners.setdefault(example.cluster, example.id)
    return [
        f"case {case.id!r} and example {owners[case.cluster]!r} are of one cluster {case.cluster!r}"
        for case in cases
        if case.cluster in owners
    ]
