"""Where a case's evidence stood when documents were retrieved, and what stood in its place."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from stepladder.knowledge.chunk import covers
from stepladder.tasks import Case, Strict


class Place(Strict):
    """Where a case's evidence stood: all of its ids, since all are needed.

    Attributes:
        rank: of the worst-placed id, by its best chunk, from 1, in a search deeper than what a rung is given;
            None where even that misses one.
        given: whether every id had a chunk among those that the rung was given.
        displaced_by: the last chunk that was given and holds no evidence: it has the place that the evidence
            needed. None where the evidence was given, or nothing else was.
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
    ranks = [
        next((place for place, chunk in enumerate(ranked, 1) if covers(wanted, chunk)), None)
        for wanted in case.evidence
    ]
    found = all_given(case, given)
    others = [chunk for chunk in given if not any(covers(wanted, chunk) for wanted in case.evidence)]
    return Place(
        rank=None if None in ranks else max((rank for rank in ranks if rank is not None), default=None),
        given=found,
        displaced_by=others[-1] if others and not found else None,
        read=read,
    )


def all_given(case: Case, given: Sequence[str]) -> bool:
    """Whether each of a case's evidence ids has a chunk among those given; False where it names none."""
    return bool(case.evidence) and all(
        any(covers(wanted, chunk) for chunk in given) for wanted in case.evidence
    )
