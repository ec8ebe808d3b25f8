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
# Only what is needed leaves SQLite, which reads without Python's lock: requests are answered meanwhile. What
# comes after feedback was due would change a value that was counted already.
_ROWS = """
SELECT asked.at, answered.at,
       json_extract(asked.body, '$.unit', '$.version', '$.trial'), {answered}, {shadow},
       (SELECT json_group_array(json(thought.body)) FROM events AS thought
        WHERE thought.interaction = asked.interaction AND thought.kind = 'feedback'
          AND thought.at <= asked.at + ?)
FROM events AS asked
JOIN events AS answered ON answered.interaction = asked.interaction AND answered.kind = 'answered'
LEFT JOIN events AS shadow ON shadow.interaction = asked.interaction AND shadow.kind = 'shadow'
WHERE asked.kind = 'asked' AND asked.task = ? AND asked.at >= ?
  AND json_extract(asked.body, '$.trial') IS NOT NULL
ORDER BY max(answered.seq, coalesce(shadow.seq, 0))
""".format(
    **{
        name: f"json_extract({name}.body, '$.outcome', '$.valid', '$.latency_ms', '$.queued_ms', '$.same')"
        for name in ("answered", "shadow")
    }
)


@dataclass(frozen=True)
class Observation:
    """How bad one answer was, from 0 to 1, by metric; ``other``: the unseen answer of the challenger.

    ``thought_by``: when its feedback was due, seconds since 1970.
    """

    by_challenger: bool
    badness: Mapping[str, float]
    other: Mapping[str, float] = field(default_factory=dict)
    same: bool | None = None
    thought_by: float = 0.0


def observations(
    records: Path, task: str, trial: Trial, since: float, now: float, slow_s: float, feedback_after_s: float
) -> list[Observation]:
    """A trial's observations in the order in which they were complete.

    Args:
        records: the file of interactions.
        since: when the trial began, seconds since 1970; ``now``: the same.
        slow_s: an answer that takes longer is slow.
        feedback_after_s: seconds after a question in which what was thought of the answer counts.
    """
    with closing(
        sqlite3.connect(f"{records.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    ) as connection:
        rows = connection.execute(_ROWS, (feedback_after_s, task, since)).fetchall()
    return list(_first_of_each(rows, trial, slow_s, now, feedback_after_s))


def _first_of_each(
    rows: list[tuple[Any, ...]], trial: Trial, slow_s: float, now: float, feedback_after_s: float
) -> Iterator[Observation]:
    seen: set[str] = set()
    for asked_at, answered_at, asked, answered, shadow, thoughts in rows:
        unit, version, of = json.loads(asked)
        if Trial(**of) != trial or unit in seen:
            continue
        if trial.shadow and shadow is None:
            continue
        seen.add(unit)
        badness = _badness(json.loads(answered), slow_s)
        thought_by = max(answered_at, asked_at + feedback_after_s)
        if not trial.shadow and thought_by <= now:
            badness["displeased"] = _displeasure(json.loads(thoughts))
        hidden = json.loads(shadow) if shadow else None
        yield Observation(
            by_challenger=version == trial.challenger,
            badness=badness,
            other=_badness(hidden, slow_s) if hidden else {},
            same=bool(hidden[-1]) if hidden else None,
            thought_by=thought_by,
        )


def _badness(answered: list[Any], slow_s: float) -> dict[str, float]:
    outcome, valid, latency_ms, queued_ms, _ = answered
    asked_nothing = outcome == "cancelled" or queued_ms is None
    return {
        # A client that left says nothing about the release, nor does a queue: shares of traffic differ.
        "errors": float(outcome not in _WELL and not asked_nothing),
        "invalid": float(outcome in _WELL and valid is False),
        "abstained": float(outcome == "abstained"),
        "slow": float(queued_ms is not None and latency_ms - queued_ms > 1000 * slow_s),
    }


def _displeasure(thoughts: list[Mapping[str, Any]]) -> float:
    """1 for a thumb down or a correction, 0 for a thumb up, a half where nothing was said."""
    if any(one.get("thumb") == "down" or "correction" in one for one in thoughts):
        return 1.0
    return 0.0 if any(one.get("thumb") == "up" for one in thoughts) else 0.5
