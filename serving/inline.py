"""Sources at the end of an answer's text, for tasks whose front end shows nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from serving.wire import Source

_START = "\n\nSources:\n[1] "


def inlined(sources: Sequence[Source]) -> str:
    """What is added to the text: each source once, numbered, by its heading or page."""
    named = dict.fromkeys(source.heading or source.page for source in sources)
    return "\n\nSources:\n" + "\n".join(f"[{number}] {name}" for number, name in enumerate(named, 1))


def without_sources(text: str) -> str:
    """An earlier answer as the model gave it, when a client sends it back as a turn."""
    return text.partition(_START)[0]
