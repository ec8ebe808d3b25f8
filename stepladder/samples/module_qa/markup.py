"""Ansible's documentation markup as plain text.

Source of the forms: "Ansible markup" in Ansible's developer guide (module format and documentation).
"""

from __future__ import annotations

import re

_MARK = re.compile(r"\b(RV|[BCEILMOPRUV])\(((?:\\.|[^)\\])*)\)")
_OWNER = re.compile(r"^[\w.]+#\w+:(?:\w+:)?")  # O(ns.collection.plugin#module:option=value)
_CODE = {"C", "V", "O", "E", "RV", "M", "P"}


def plain(text: str) -> str:
    """``text`` with code marks as backticks, links as their text, and single spaces."""
    unmarked = _MARK.sub(_unmarked, text).replace("HORIZONTALLINE", " ")
    return " ".join(unmarked.split())


def _unmarked(match: re.Match[str]) -> str:
    kind, inner = match[1], re.sub(r"\\(.)", r"\1", match[2])
    if kind in {"O", "RV"}:
        inner = _OWNER.sub("", inner)
    if kind == "P":
        inner = inner.partition("#")[0]
    if kind in {"L", "R"}:
        inner = inner.partition(",")[0]
    return f"`{inner}`" if kind in _CODE else inner


def paragraph(value: object) -> str:
    """A documentation field (a text, or a list of them) as one plain paragraph."""
    parts = value if isinstance(value, list) else [value]
    return " ".join(plain(str(part)) for part in parts if part is not None)


def leading_sentences(text: str, limit: int) -> str:
    """Whole sentences from the start, ``limit`` characters at most; the first is cut at a word if need be."""
    if len(text) <= limit:
        return text
    end = max((match.end() for match in re.finditer(r"[.!?](?=\s)", text[: limit + 1])), default=0)
    return text[:end] if end else text[:limit].rsplit(" ", 1)[0] + " ..."
