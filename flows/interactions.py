"""What was asked of the gateway, from its records (docs/08-serving.md): one row an answered question."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import yaml

from stepladder.tasks import Strict

_QUERY = """
SELECT asked.body, answered.body,
    (SELECT body FROM events WHERE kind = 'feedback' AND interaction = asked.interaction
     AND json_extract(body, '$.correction') IS NOT NULL ORDER BY seq DESC LIMIT 1)
FROM events AS asked JOIN events AS answered
ON answered.interaction = asked.interaction AND answered.kind = 'answered'
WHERE asked.kind = 'asked' AND asked.task = ? AND asked.at >= ?
AND json_extract(answered.body, '$.outcome') IN ('answered', 'abstained')
ORDER BY asked.seq DESC LIMIT ?
"""


class Asked(Strict):
    """A question, what was answered, whether anything was found for it, and how a person corrected it."""

    question: str
    answer: str
    outcome: str
    chunks: int
    correction: str | None


def records_of(project: Path) -> Path:
    """The file of the gateway's records."""
    path = project / "serving.yaml"
    said = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return project / str(((said or {}).get("records") or {}).get("path", "var/interactions.sqlite"))


def read_asked(records: Path, task: str, since: float, most: int) -> list[Asked]:
    """The last questions of a task that were answered or abstained from, newest first.

    Args:
        records: the gateway's file; there may be none.
        task: its name.
        since: seconds since 1970.
        most: how many.
    """
    if not records.is_file():
        return []
    connection = sqlite3.connect(f"{records.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        rows = connection.execute(_QUERY, (task, since, most)).fetchall()
    finally:
        connection.close()
    return [
        _asked(*map(json.loads, (asked, answered, corrected or "{}"))) for asked, answered, corrected in rows
    ]


def _asked(asked: dict[str, object], answered: dict[str, object], corrected: dict[str, object]) -> Asked:
    messages, chunks = asked["messages"], answered.get("chunks") or []
    assert isinstance(messages, list)
    assert isinstance(chunks, list)
    return Asked(
        question=messages[-1]["content"],
        answer=str(answered.get("answer") or ""),
        outcome=str(answered["outcome"]),
        chunks=len(chunks),
        correction=str(corrected["correction"]) if corrected else None,
    )
