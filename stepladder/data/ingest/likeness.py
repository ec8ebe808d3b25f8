"""Rows of a batch beside those of the dataset and of the batch itself: known, conflicting, leaking, alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from stepladder.data.ingest.fill import RowKind
from stepladder.data.ingest.known import Known, Place
from stepladder.data.ingest.near import bands_of, similarity
from stepladder.data.ingest.rows import Traits, asked_of, traits, turn_keys
from stepladder.tasks import Case, Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_COMPARED = 8  # rows of a batch that share a band


@dataclass
class Rows:
    """New rows of one kind, with their traits, and the bands of their turns (``of`` says whose they are)."""

    kind: RowKind
    rows: Sequence[Example | Case]
    traits: Sequence[Traits]
    of: list[int] = field(init=False)
    turns: list[str] = field(init=False)
    bands: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        pairs = [(position, turn) for position, one in enumerate(self.traits) for turn in one.turns]
        self.of = [position for position, _ in pairs]
        self.turns = [turn for _, turn in pairs]
        self.bands = bands_of(self.turns)


def split_known(kind: RowKind, found: Sequence[Traits], known: Known) -> tuple[list[int], dict[int, str]]:
    """Positions of rows that are known already, and conflicts by position, in words, by the rows' traits.

    A row is known when the dataset, or an earlier row of the batch, gives the same answer to the same input.
    """
    held = known.same_input(kind, (one.asked for one in found))
    first: dict[bytes, dict[bytes, str]] = defaultdict(dict)
    repeated: list[int] = []
    for position, one in enumerate(found):
        answers = first[one.asked]
        if one.answer in answers or any(place.answer == one.answer for place in held.get(one.asked, ())):
            repeated.append(position)
        else:
            answers[one.answer] = one.id
    conflicts: dict[int, str] = {}
    gone = set(repeated)
    for position, one in enumerate(found):
        others = [place.id for place in held.get(one.asked, ())]
        others += [name for answer, name in first[one.asked].items() if answer != one.answer]
        if others and position not in gone:
            conflicts[position] = f"row {others[0]!r} gives another answer to the same input"
    return repeated, conflicts


def find_leaks(new: Rows, others: Rows | None, known: Known, threshold: float) -> dict[int, str]:
    """Rows that share a user turn, nearly so, or a cluster with one of the other kind, in words.

    What follows a blank line in an example's turn is compared too, word for word only: the endings nearly
    like a case are found by the stage ``prepare``.

    Args:
        new: cases or examples.
        others: new rows of the other kind.
        known: the dataset.
        threshold: least Jaccard similarity of texts nearly alike.
    """
    other: RowKind = "cases" if new.kind == "examples" else "examples"
    leaks = _near_leaks(new, others, known, threshold)
    keys = [turn_keys(one) for one in new.traits]
    same = known.same_turn(other, (key for some in keys for key in some))
    clusters = known.clusters(other, (one.cluster for one in new.traits))
    for one in others.traits if others else ():
        same |= dict.fromkeys(turn_keys(one), one.id)
        clusters |= {one.cluster: one.id} if one.cluster else {}
    singular = other.removesuffix("s")
    for position, one in enumerate(new.traits):
        if one.cluster in clusters:
            leaks[position] = f"{singular} {clusters[one.cluster]!r} is of the same cluster {one.cluster!r}"
        if shared := next((same[key] for key in keys[position] if key in same), None):
            leaks[position] = f"{singular} {shared!r} has the same input"
    return leaks


def _near_leaks(new: Rows, others: Rows | None, known: Known, threshold: float) -> dict[int, str]:
    other: RowKind = "cases" if new.kind == "examples" else "examples"
    turns_at = _reader(known)
    leaks: dict[int, str] = {}
    candidates = known.candidates(other, new.bands)
    mates = _sharing(others.bands, new.bands) if others else {}
    for number, turn in enumerate(new.turns):
        texts = [(place.id, text) for place in candidates.get(number, ()) for text in turns_at(place)[1]]
        if others:
            texts += [(others.traits[others.of[n]].id, others.turns[n]) for n in mates.get(number, ())]
        for name, text in texts:
            alike = similarity(turn, text)
            if alike >= threshold:
                leaks[new.of[number]] = (
                    f"{other.removesuffix('s')} {name!r} is nearly the same (similarity {alike:.2f})"
                )
                break
    return leaks


def find_near_duplicates(new: Rows, known: Known, threshold: float) -> dict[int, str]:
    """Rows that ask nearly what an earlier one does and give the same answer, in words."""
    asked_at = _reader(known)
    asked = [asked_of(row) for row in new.rows]
    last = {position: number for number, position in enumerate(new.of)}
    candidates = known.candidates(new.kind, new.bands)
    mates = _sharing(new.bands, new.bands)
    found: dict[int, str] = {}
    for position, one in enumerate(new.traits):
        number = last[position]
        texts = [
            (place.id, asked_at(place)[0])
            for place in candidates.get(number, ())
            if place.answer == one.answer
        ]
        earlier = dict.fromkeys(new.of[mate] for mate in mates.get(number, ()) if new.of[mate] < position)
        texts += [
            (new.traits[mate].id, asked[mate])
            for mate in earlier
            if mate not in found and new.traits[mate].answer == one.answer
        ]
        for name, text in texts:
            alike = similarity(asked[position], text)
            if alike >= threshold:
                found[position] = f"row {name!r} says nearly the same (similarity {alike:.2f})"
                break
    return found


def _sharing(bands: NDArray[np.int64], asking: NDArray[np.int64]) -> dict[int, list[int]]:
    """Of each row of ``asking``: the rows of ``bands`` that share a band with it, a few a band."""
    import numpy as np

    if bands is asking:
        keys, times = np.unique(bands, return_counts=True)
        common = keys[times > 1]
    else:
        common = np.intersect1d(bands, asking)
    members: dict[int, list[int]] = defaultdict(list)
    for number, column in np.argwhere(np.isin(bands, common)).tolist():
        some = members[int(bands[number, column])]
        if len(some) < _MOST_COMPARED:
            some.append(number)
    found: dict[int, list[int]] = defaultdict(list)
    for number, column in np.argwhere(np.isin(asking, common)).tolist():
        found[number] += members[int(asking[number, column])]
    return {number: list(dict.fromkeys(mates)) for number, mates in found.items()}


def _reader(known: Known) -> Callable[[Place], tuple[str, Iterable[str]]]:
    @lru_cache(maxsize=4096)
    def read(place: Place) -> tuple[str, Iterable[str]]:
        """What a row of the dataset asks, and its user turns."""
        row = known.row(place)
        return asked_of(row), traits(row).turns

    return read
