"""BM25 weights and term ids."""

from __future__ import annotations

import re
import unicodedata
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.knowledge.sparse import average_length, document_vector, query_vector, terms


def test_names_give_their_parts_and_the_whole() -> None:
    assert terms("The `update_cache` option, v2.") == [
        "the",
        "update",
        "cache",
        "update_cache",
        "option",
        "v2",
    ]
    assert terms("__init__") == ["init"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Größe: 5 m²", ["grösse", "5", "m2"]),
        ("GRÖSSE", ["grösse"]),
        ("Настройка сети", ["настройка", "сети"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("日本のnginx設定", ["日", "本", "の", "nginx", "設", "定"]),
        ("größe_max", ["grösse", "max", "grösse_max"]),
    ],
)
def test_words_of_all_scripts_are_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected
    assert terms(unicodedata.normalize("NFD", text)) == expected


@given(st.text(st.characters(max_codepoint=127)))
def test_in_ascii_nothing_changed(text: str) -> None:
    before = []
    for word in re.findall(r"[a-z0-9_]+", text.lower()):
        parts = [part for part in word.split("_") if part]
        before += [*parts, *(["_".join(parts)] if len(parts) > 1 else [])]
    assert terms(text) == before


def test_document_weights_follow_bm25() -> None:
    """tf 2 in a text of average length: 2 * 2.2 / (2 + 1.2) = 1.375; tf 1: 2.2 / 2.2 = 1."""
    vector = document_vector("apt apt state", 3.0)
    weights = dict(zip(vector.indices, vector.values, strict=True))
    assert weights[zlib.crc32(b"apt")] == pytest.approx(1.375)
    assert weights[zlib.crc32(b"state")] == pytest.approx(1.0)


def test_a_long_text_weighs_its_words_less() -> None:
    assert document_vector("apt " + "word " * 50, 5.0).values != document_vector("apt word", 5.0).values
    assert max(document_vector("apt a b c d e f g", 2.0).values) < max(document_vector("apt", 2.0).values)


def test_average_length_counts_terms() -> None:
    assert average_length(["a b", "c d e f"]) == 3
    assert average_length([]) == 1


@given(st.text(max_size=200))
def test_ids_are_unique_ascending_32_bit_and_the_same_for_query_and_document(text: str) -> None:
    query, document = query_vector(text), document_vector(text, 10.0)
    assert query.indices == sorted(set(query.indices)) == document.indices
    assert all(0 <= index < 2**32 for index in query.indices)
    assert all(value == 1 for value in query.values)
    assert all(value > 0 for value in document.values)
