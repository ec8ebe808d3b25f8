"""Secrets and personal data taken out of all text before it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from serving.settings import Pattern

Redact = Callable[[Any], Any]


def redactor(patterns: Iterable[Pattern]) -> Redact:
    """A function that replaces every match in every text of a JSON value (keys apart) by ``[name]``.

    Patterns are applied in order. A text is redacted as a whole, so nothing that spans lines escapes.
    """
    compiled = [(re.compile(one.pattern), f"[{one.name}]") for one in patterns]

    def redact(value: Any) -> Any:
        if isinstance(value, str):
            for pattern, name in compiled:
                value = pattern.sub(name, value)
            return value
        if isinstance(value, dict):
            return {key: redact(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [redact(inner) for inner in value]
        return value

    return redact
