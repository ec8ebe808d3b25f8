"""What was asked of the gateway, from its records (docs/08-serving.md): one row an answered question."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stepladder.files import read_json
from stepladder.tasks import Strict

KEY = "STEPLADDER_API_KEY"

_CORRECTED = """
(SELECT body FROM events WHERE kind = 'feedback' AND interaction = asked.interaction
 AND json_extract(body, '$.correction') IS NOT NULL ORDER BY seq DESC LIMIT 1)
"""
_QUERY = f"""
SELECT asked.body, answered.body, {_CORRECTED} AS corrected
FROM events AS asked JOIN events AS answered
ON answered.interaction = asked.interaction AND answered.kind = 'answered'
WHERE asked.kind = 'asked' AND asked.task = :task AND asked.at >= :since
AND json_extract(asked.body, '$.key') IS NOT :own
AND json_extract(answered.body, '$.outcome') IN ('answered', 'abstained')
"""
# A sample of all that time, not what came last; the same one as long as nothing is asked.
_SAMPLE = f"{_QUERY} ORDER BY digest(asked.interaction) LIMIT :most"
_CORRECTIONS = f"{_QUERY} AND corrected IS NOT NULL ORDER BY asked.seq DESC LIMIT :most"


class Asked(Strict):
    """A question, what was answered, whether anything was found for it, and how a person corrected it."""

    question: str
    answer: str
    outcome: str
    chunks: int
    correction: str | None


def records_of(project: Path) -> Path:
    """The file of the gateway's records."""
    records = _serving(project).get("records") or {}
    return project / str(records.get("path", "var/interactions.sqlite"))


def own_key(project: Path) -> str | None:
    """The id of the key by which the watch asks, as records here name it; None where it has none."""
    keys = project / str(_serving(project).get("keys", "var/keys.json"))
    if not (mine := os.environ.get(KEY)) or not keys.is_file():
        return None
    digest = hashlib.sha256(mine.encode()).hexdigest()
    return next((str(one["id"]) for one in read_json(keys) if one["hash"] == digest), None)


def _serving(project: Path) -> dict[str, Any]:
    path = project / "serving.yaml"
    said = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return dict(said or {})


def read_asked(records: Path, task: str, since: float, most: int, own: str | None = None) -> list[Asked]:
    """A sample of the questions of a task that were answered or abstained from.

    Args:
        records: the gateway's file; there may be none.
        task: its name.
        since: seconds since 1970.
        most: how many.
        own: a key's id; what was asked by it is left out.
    """
    return _read(records, _SAMPLE, {"task": task, "since": since, "most": most, "own": own or ""})


def read_corrected(records: Path, task: str, since: float, most: int, own: str | None = None) -> list[Asked]:
    """The last questions whose answers people corrected, newest first. See `read_asked`."""
    return _read(records, _CORRECTIONS, {"task": task, "since": since, "most": most, "own": own or ""})


def _read(records: Path, query: str, given: Mapping[str, object]) -> list[Asked]:
    if not records.is_file():
        return []
    connection = sqlite3.connect(f"{records.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        connection.create_function("digest", 1, _digest, deterministic=True)
        rows = connection.execute(query, given).fetchall()
    finally:
        connection.close()
    return [
        _asked(*map(json.loads, (asked, answered, corrected or "{}"))) for asked, answered, corrected in rows
    ]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


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
