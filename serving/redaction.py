"""Secrets and personal data taken out of all text before it is written.

By the module ``regex``: unlike ``re`` it lets other threads run while it searches, and can give up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import regex

from serving.settings import Pattern

log = logging.getLogger("serving")

_LONGEST_S = 1.0
UNREAD = "[a pattern took too long]"

Redact = Callable[[Any], Any]


def redactor(patterns: Iterable[Pattern]) -> Redact:
    """A function that replaces every match in every text of a JSON value (keys apart) by ``[name]``.

    Patterns are applied in order. A text is redacted as a whole, so nothing that spans lines escapes. Where a
    pattern takes longer than a second, nothing of the text is kept.
    """
    compiled = [(regex.compile(one.pattern), f"[{one.name}]") for one in patterns]

    def redact(value: Any) -> Any:
        if isinstance(value, str):
            for pattern, name in compiled:
                try:
                    value = pattern.sub(name, value, timeout=_LONGEST_S, concurrent=True)
                except TimeoutError:
                    log.error("the pattern %s takes too long: a text is not recorded", name)
                    return UNREAD
            return value
        if isinstance(value, dict):
            return {key: redact(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [redact(inner) for inner in value]
        return value

    return redact
