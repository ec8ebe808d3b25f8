"""Secrets and personal data in a text, in words that do not repeat them.

Secrets by Betterleaks, the successor of Gitleaks (some 460 rules); personal data by DataFog's patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Finder = Callable[[str], str | None]

_CONFIDENCE = ("low", "medium", "high")

# All that DataFog is asked for holds an @ or seven digits; most texts hold neither, and need no search.
_POSSIBLE = re.compile(r"@|(?:\d\D{0,3}?){7}")


def secret_finder(least_confidence: str) -> Finder:
    """A function from a text to the kinds of secrets in it, or None.

    Args:
        least_confidence: low, medium or high: findings of which Betterleaks is less sure are passed over.
    """
    from betterleaks import scan_string

    sure = _CONFIDENCE[_CONFIDENCE.index(least_confidence) :]

    def find(text: str) -> str | None:
        rules = {finding.rule_id for finding in scan_string(text) if finding.confidence in sure}
        return f"looks like a secret: {', '.join(sorted(rules))}" if rules else None

    return find


def personal_finder(kinds: Sequence[str]) -> Finder:
    """A function from a text to the kinds of personal data in it, or None.

    Args:
        kinds: entity types of DataFog; none finds nothing.
    """
    if not kinds:
        return lambda _: None
    from datafog.engine import scan

    wanted = list(kinds)

    def find(text: str) -> str | None:
        if not _POSSIBLE.search(text):
            return None
        entities = scan(text, engine="regex", entity_types=wanted).entities
        # A bare run of digits is a number more often than a telephone's.
        found = {one.type for one in entities if not (one.type == "PHONE" and one.text.isdigit())}
        return f"looks like personal data: {', '.join(sorted(found))}" if found else None

    return find
