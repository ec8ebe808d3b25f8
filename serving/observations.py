"""What a trial of a challenger has seen so far, read from the records: so a restart forgets nothing of it.

One observation a user or conversation, its first: later ones of the same hang together with it, and would
count one person's opinion many times.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.router import Trial

_WELL = ("answered", "abstained")
_ROWS = """
SELECT asked.at, asked.body, answered.body, shadow.body,
       (SELECT json_group_array(json(thought.body)) FROM events AS thought
        WHERE thought.interaction = asked.interaction AND thought.kind = 'feedback')
FROM events AS asked
JOIN events AS answered ON answered.interaction = asked.interaction AND answered.kind = 'answered'
LEFT JOIN events AS shadow ON shadow.interaction = asked.interaction AND shadow.kind = 'shadow'
WHERE asked.kind = 'asked' AND asked.task = ? AND asked.at >= ?
  AND json_extract(asked.body, '$.trial') IS NOT NULL
ORDER BY answered.seq
"""


@dataclass(frozen=True)
class Observation:
    """How bad one answer was, from 0 to 1, by metric; ``other``: the unseen answer of the challenger."""

    by_challenger: bool
    badness: Mapping[str, float]
    other: Mapping[str, float] = field(default_factory=dict)
    same: bool | None = None


def observations(
    records: Path, task: str, trial: Trial, since: float, now: float, slow_s: float, feedback_after_s: float
) -> list[Observation]:
    """A trial's observations in the order in which they were complete.

    Args:
        records: the file of interactions.
        since: when the trial began, seconds since 1970; ``now``: the same.
        slow_s: an answer that takes longer is slow.
        feedback_after_s: how old an answer must be before what was thought of it counts.
    """
    with closing(
        sqlite3.connect(f"{records.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    ) as connection:
        rows = connection.execute(_ROWS, (task, since)).fetchall()
    return list(_first_of_each(rows, trial, slow_s, now - feedback_after_s))


def _first_of_each(
    rows: list[tuple[Any, ...]], trial: Trial, slow_s: float, thought_by: float
) -> Iterator[Observation]:
    seen: set[str] = set()
    for at, asked_text, answered, shadow, thoughts in rows:
        asked = json.loads(asked_text)
        if Trial(**asked["trial"]) != trial or asked["unit"] in seen:
            continue
        if trial.shadow and shadow is None:
            continue
        seen.add(asked["unit"])
        badness = _badness(json.loads(answered), slow_s)
        if not trial.shadow and at <= thought_by:
            badness["displeased"] = _displeasure(json.loads(thoughts))
        hidden = json.loads(shadow) if shadow else {}
        yield Observation(
            by_challenger=asked["version"] == trial.challenger,
            badness=badness,
            other=_badness(hidden, slow_s) if hidden else {},
            same=hidden.get("same"),
        )


def _badness(answered: Mapping[str, Any], slow_s: float) -> dict[str, float]:
    outcome = answered["outcome"]
    return {
        # A client that left says nothing about the release.
        "errors": float(outcome not in (*_WELL, "cancelled")),
        "invalid": float(outcome in _WELL and answered.get("valid") is False),
        "abstained": float(outcome == "abstained"),
        "slow": float(answered["latency_ms"] > 1000 * slow_s),
    }


def _displeasure(thoughts: list[Mapping[str, Any]]) -> float:
    """1 for a thumb down or a correction, 0 for a thumb up, a half where nothing was said."""
    if any(one.get("thumb") == "down" or "correction" in one for one in thoughts):
        return 1.0
    return 0.0 if any(one.get("thumb") == "up" for one in thoughts) else 0.5
