"""Headings as parts of ids."""

from __future__ import annotations

import unicodedata

import regex

# With the marks of letters, which \w may leave out: Hindi, say, is not spelt without them.
_OTHERS = regex.compile(r"[^\w\p{M}]+")


def slug(heading: str) -> str:
    """A heading as a part of an id: lowercase, each run of other than letters, digits and ``_`` one ``-``.

    Letters of all scripts stay; one without any is ``section``.
    """
    return _OTHERS.sub("-", unicodedata.normalize("NFC", heading.lower())).strip("-") or "section"
