"""Texts that are nearly alike, found without comparing all with all.

MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman and Ullman, "Mining of Massive
Datasets", chapter 3): texts of Jaccard similarity s share a band with probability 1 - (1 - s^9)^12, which
is .997 at .9 and .02 at .5. Candidates are then compared exactly. What slips through is found by the stage
``prepare``, which compares all with all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING
from zlib import crc32

from stepladder.data.duplicates import jaccard, shingles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BANDS = 12
_ROWS_A_BAND = 9
_AT_ONCE = 1_000


def bands_of(texts: Iterable[str]) -> NDArray[np.int64]:
    """Band keys of texts, an array of shape (texts, ``BANDS``); equal keys mean a band in common."""
    import numpy as np

    waiting = iter(texts)
    parts = [np.empty((0, BANDS), dtype=np.int64)]
    while some := list(islice(waiting, _AT_ONCE)):
        parts.append(_keys(some))
    return np.concatenate(parts)


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of the shingles of two texts, in [0, 1]."""
    return jaccard(shingles(a), shingles(b))


def _keys(texts: Sequence[str]) -> NDArray[np.int64]:
    """Band keys of some texts: of each of 108 hash functions the least value of the text's shingles."""
    import numpy as np

    sets = [[crc32(" ".join(words).encode()) for words in shingles(text)] for text in texts]
    starts = np.cumsum([0, *map(len, sets[:-1])])
    values = np.fromiter((value for some in sets for value in some), dtype=np.uint64)
    factors, terms = _hash_functions()
    signatures = np.minimum.reduceat((values[:, None] * factors + terms) >> np.uint64(32), starts, axis=0)
    grouped = signatures.reshape(len(texts), BANDS, _ROWS_A_BAND)
    # A multiply-and-xor hash of each band's rows; it starts at the band's number, so that bands do not meet.
    keys = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64), (len(texts), BANDS)).copy()
    for row in range(_ROWS_A_BAND):
        keys = (keys ^ grouped[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys.view(np.int64)


@cache
def _hash_functions() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Multiply-shift hash functions of 32 bits (Dietzfelbinger 1996): (factor x + term) mod 2^64, cut."""
    import numpy as np

    numbers = np.random.Generator(np.random.PCG64(1)).integers(
        0, 2**64, size=(2, BANDS * _ROWS_A_BAND), dtype=np.uint64
    )
    return numbers[0] | np.uint64(1), numbers[1]
