"""The language of a text, where it is long enough to tell."""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.data.ingest.private import Finder

_FEWEST_LETTERS = 40
_SURE = 0.95

# The beginning tells; reading on costs more than all other checks together.
_LONGEST = 150


def language_finder(allowed: Sequence[str]) -> Finder:
    """A function from a text to the language it is in, where that is surely another than those allowed.

    By py3langid (Lui and Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", 2012).

    Args:
        allowed: ISO 639-1 codes; none allows any.
    """
    if not allowed:
        return lambda _: None
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def find(text: str) -> str | None:
        start = text[:_LONGEST]
        if sum(map(str.isalpha, start)) < _FEWEST_LETTERS:
            return None
        language, probability = identifier.classify(start)
        if language in allowed or probability < _SURE:
            return None
        return f"seems to be in another language: {language}"

    return find
