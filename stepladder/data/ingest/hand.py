"""What an ingest has in hand for one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stepladder.data.ingest.records import Kind
from stepladder.settings import Settings
from stepladder.tasks import Task


@dataclass(frozen=True)
class Hand:
    """The files taken for a task (under ``taken``), and what they are held against.

    ``docs`` is where the Data Docs go, a folder a batch. ``versions`` are those of the objects taken from a
    URL, by name. ``held`` are the keys of what is in quarantine, or was dropped from it, by kind.
    ``rewritten`` is that of the plan that is to be made.
    """

    task: Task
    settings: Settings
    taken: Path
    docs: Path
    versions: Mapping[str, str]
    held: Mapping[str, set[str]]
    rewritten: Sequence[Kind] = ()
