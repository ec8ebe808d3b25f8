"""Texts that are nearly alike, found without comparing all with all.

MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman and Ullman, "Mining of Massive
Datasets", chapter 3): texts of Jaccard similarity s share a band with probability 1 - (1 - s^9)^12, which
is .997 at .9 and .02 at .5. Candidates are then compared exactly. What slips through is found by the stage
``prepare``, which compares all with all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from stepladder.data.duplicates import shingles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BANDS = 12
_ROWS_A_BAND = 9
_AT_ONCE = 2_000


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
    of_a, of_b = shingles(a), shingles(b)
    shared = len(of_a & of_b)
    return shared / (len(of_a) + len(of_b) - shared)


def _keys(texts: Sequence[str]) -> NDArray[np.int64]:
    import numpy as np
    from datasketch import MinHash

    sets = [[" ".join(words).encode() for words in shingles(text)] for text in texts]
    signatures = MinHash.bulk(sets, num_perm=BANDS * _ROWS_A_BAND, seed=1)
    values = np.stack([signature.hashvalues for signature in signatures]).astype(np.uint64)
    grouped = values.reshape(len(texts), BANDS, _ROWS_A_BAND)
    # A multiply-and-add hash modulo 2^64; it starts at the band's number, so that bands do not meet.
    keys = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64), (len(texts), BANDS)).copy()
    for row in range(_ROWS_A_BAND):
        keys = (keys ^ grouped[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys.view(np.int64)
