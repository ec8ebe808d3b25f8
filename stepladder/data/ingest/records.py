"""What an ingest writes down."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from stepladder.tasks import Strict

Kind = Literal["knowledge", "cases", "examples"]

# Pages first: rows name them as evidence. Cases before examples: examples must not repeat a case.
KINDS: tuple[Kind, ...] = ("knowledge", "cases", "examples")


class Fault(Strict):
    """A check that a row failed, and why."""

    check: str
    reason: str


class Counts(Strict):
    """What became of the rows (or pages) of one kind; every row that came in is in exactly one place."""

    arrived: int = Field(ge=0)
    kept: int = Field(ge=0)
    quarantined: int = Field(ge=0)
    known: int = Field(ge=0)

    @model_validator(mode="after")
    def _add_up(self) -> Counts:
        if self.arrived != self.kept + self.quarantined + self.known:
            raise ValueError(f"rows in are not rows kept, quarantined and known: {self!r}")
        return self

    @property
    def told(self) -> str:
        """The sum in words."""
        return f"{self.arrived} in = {self.kept} kept + {self.quarantined} quarantined + {self.known} known"


class Delivered(Strict):
    """A file that was taken: its name under the inbox, SHA-256, rows, and at a URL the object's version."""

    name: str
    digest: str
    rows: int
    version: str | None = None


class PageChange(Strict):
    """A page that is written or removed."""

    page: str
    change: Literal["added", "changed", "removed"]


class Addition(Strict):
    """Rows appended to a file of the dataset, whose SHA-256 before and after is known; before is empty
    where the file is made. ``start`` is where the first of them will stand, in bytes.
    """

    kind: Literal["cases", "examples"]
    before: str
    after: str
    start: int


class Held(Strict):
    """A row in quarantine. ``row`` is as it came: a JSON value, a text that is no JSON, or a page's name."""

    entry: str
    kind: Kind
    source: str
    faults: list[Fault]
    row: Any


class Plan(Strict):
    """What becomes of a batch: all that the steps after it need, decided once.

    ``rewritten`` are files of rows that an earlier plan for the same files has written to already: their rows
    count as known here, and are recorded with this one.
    """

    batch: str
    task: str
    occurred: str
    files: list[Delivered]
    counts: dict[Kind, Counts]
    pages: list[PageChange]
    additions: list[Addition]
    refused: dict[Kind, str]
    warnings: dict[str, int]
    rewritten: list[Kind] = Field(default=[])

    @property
    def changed(self) -> list[Kind]:
        """The kinds of which the dataset has other content than its last version."""
        found: set[Kind] = {*self.rewritten, *(one.kind for one in self.additions)}
        return [kind for kind in KINDS if kind in found or (kind == "knowledge" and self.pages)]


class Account(Strict):
    """A batch that was carried out: its plan, and the version that holds it, if it changed anything."""

    plan: Plan
    commit: str | None
    tag: str | None


class DatasetUpdated(Strict):
    """The event that a dataset has a new version. ``id`` is the same however often it is sent."""

    id: str
    event: Literal["dataset.updated"] = "dataset.updated"
    occurred: str
    task: str
    kinds: list[Kind]
    commit: str
    tag: str
    counts: dict[Kind, Counts]
