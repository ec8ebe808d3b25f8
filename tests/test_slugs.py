"""Headings of any script have ids of their own, those in ASCII the ids that they always had."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.slugs import slug


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Return Values", "return-values"),
        ("`update_cache`!", "update_cache"),
        ("Foo_bar: Baz!", "foo_bar-baz"),
        ("???", "section"),
        ("Größe & Maß", "größe-maß"),
        ("Настройка сети", "настройка-сети"),
        ("日本、設定", "日本-設定"),
        ("हिन्दी में", "हिन्दी-में"),
    ],
)
def test_letters_of_all_scripts_stay(heading: str, expected: str) -> None:
    assert slug(heading) == expected


def test_a_letter_and_its_mark_are_the_letter() -> None:
    assert slug(unicodedata.normalize("NFD", "Größe")) == "größe"


@given(st.text(st.characters(max_codepoint=127)))
def test_in_ascii_nothing_changed(heading: str) -> None:
    assert slug(heading) == (re.sub(r"[^a-z0-9_]+", "-", heading.lower()).strip("-") or "section")


@given(st.text())
def test_it_is_a_part_of_an_id(heading: str) -> None:
    assert slug(heading)
    assert not set("/#~ ") & set(slug(heading))
