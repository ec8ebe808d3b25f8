"""Where a case's evidence stood when documents were retrieved, and what stood in its place."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from stepladder.knowledge.chunk import covers
from stepladder.tasks import Case, Strict


class Place(Strict):
    """The best-ranked chunk that holds a case's evidence.

    Attributes:
        rank: from 1, in a search deeper than what a rung is given; None where even that misses it.
        given: whether it was among the chunks that the rung was given.
        displaced_by: the last chunk that was given: it holds the place that the evidence needed. None where
            the evidence was given.
        read: whether the reference can be read in the evidence; None where that cannot be looked for.
    """

    rank: int | None
    given: bool
    displaced_by: str | None
    read: bool | None = None


class Places(Strict):
    """Places by case id, from a search for ``depth`` chunks."""

    depth: int = 0
    by_case: dict[str, Place] = Field(default={})


def place_of(case: Case, ranked: Sequence[str], given: Sequence[str], read: bool | None = None) -> Place:
    """Where the evidence of a case stands.

    Args:
        case: with its evidence.
        ranked: ids of the chunks that a deep search finds, best first.
        given: ids of the chunks that the rung was given.
        read: whether the reference can be read in the evidence.
    """
    rank = next((place for place, chunk in enumerate(ranked, 1) if _holds(case, chunk)), None)
    found = any(_holds(case, chunk) for chunk in given)
    displaced = given[-1] if given and not found else None
    return Place(rank=rank, given=found, displaced_by=displaced, read=read)


def _holds(case: Case, chunk: str) -> bool:
    return any(covers(wanted, chunk) for wanted in case.evidence)
