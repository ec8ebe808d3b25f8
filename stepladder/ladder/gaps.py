"""Shares by cause as a reader should see them: what nobody tells apart yet has one name.

What nothing mended is ``behaviour`` if an adapter mends it and ``capability`` if none does. Before an adapter
answers, or a pilot leaves no hope of one, it is written down as ``behaviour``, which decides about training,
and nobody knows which it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stepladder.ladder.criteria import ADAPTER_RUNGS

UNTOLD = "behaviour or capability, not told apart"


def names_of(gaps: Mapping[str, float], rungs: Collection[str]) -> dict[str, str]:
    """What each cause is called.

    Args:
        gaps: shares of the failing cases by cause.
        rungs: those that ran.
    """
    tried = any(rung in ADAPTER_RUNGS for rung in rungs)
    untold = not tried and gaps.get("behaviour", 0) > 0 and not gaps.get("capability")
    return {cause: UNTOLD if untold and cause == "behaviour" else cause for cause in gaps}


def shown(gaps: Mapping[str, float], rungs: Collection[str]) -> dict[str, float]:
    """The shares by those names; without a row of its own for ``capability`` where it is not told apart."""
    names = names_of(gaps, rungs)
    untold = UNTOLD in names.values()
    return {names[cause]: share for cause, share in gaps.items() if not (untold and cause == "capability")}
