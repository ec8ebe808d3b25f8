from __future__ import annotations

import random

import numpy as np
import pytest

from stepladder.data.ingest.near import BANDS, bands_of, similarity


@pytest.mark.parametrize("changed", [1, 2, 4, 8])
def test_texts_share_a_band_as_often_as_the_theory_says(changed: int) -> None:
    source = random.Random(changed)
    words = [f"w{number}" for number in range(5000)]
    texts = [" ".join(source.choices(words, k=120)) for _ in range(600)]
    others = []
    for text in texts:
        some = text.split()
        for place in source.sample(range(120), k=changed):
            some[place] = source.choice(words)
        others.append(" ".join(some))
    alike = np.array([similarity(a, b) for a, b in zip(texts, others, strict=True)])
    shared = (bands_of(texts) == bands_of(others)).any(axis=1)
    expected = 1 - (1 - alike**9) ** BANDS
    # Three standard errors of a share of 600.
    assert abs(shared.mean() - expected.mean()) < 3 * np.sqrt(0.25 / 600)


def test_no_texts_have_no_bands() -> None:
    assert bands_of([]).shape == (0, BANDS)


def test_words_alone_count_not_case_and_stops() -> None:
    assert (bands_of(["A b, c"]) == bands_of(["a B c."])).all()
    assert similarity("one two", "two one") == 0.0
