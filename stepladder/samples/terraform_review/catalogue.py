"""The catalogue of resource kinds and faults (``catalogue.yaml``), loaded and checked."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import Field, model_validator

from stepladder.tasks import Strict

Category = Literal["security", "cost", "correctness"]
CATEGORIES: tuple[Category, ...] = ("security", "cost", "correctness")
HEADER = "header"


class Issue(Strict):
    """What a reviewer says about a fault; one text a fault, so that answers can be compared."""

    category: Category
    severity: Literal["critical", "warning"]
    issue: str
    fix: str


class Edit(Strict):
    """New text for some slots of a kind's body; null leaves the slot out. Alone it is a distractor."""

    put: dict[str, str | None] = Field(min_length=1)
    env: tuple[str, ...] = Field((), description="environments it is limited to; empty: any")


class Fault(Edit):
    """An edit that is wrong: ``named`` is the issue, ``at`` the slot whose first line it stands on."""

    named: str = Field(alias="is")
    at: str


class Kind(Strict):
    """A resource kind: slots in order, each one or more lines without the resource's indentation."""

    resource: str
    label: str = "<name>"
    body: dict[str, str]
    optional: tuple[str, ...] = ()
    faults: list[Fault] = Field(min_length=1)
    distractors: tuple[Edit, ...] = ()

    @model_validator(mode="after")
    def _slots_exist(self) -> Kind:
        named = {slot for edit in [*self.faults, *self.distractors] for slot in edit.put}
        named |= {fault.at for fault in self.faults if fault.at != HEADER} | set(self.optional)
        if named - set(self.body):
            raise ValueError(f"{self.resource} has no slot {sorted(named - set(self.body))}")
        return self


class Rates(Strict):
    """How often a fault of its kind stands in a snippet, and which share of snippets are distractors."""

    fault: float = Field(gt=0, lt=1)
    distractor: float = Field(ge=0, lt=1)


class Catalogue(Strict):
    """All of ``catalogue.yaml``."""

    rates: Rates
    most_faults: int = Field(gt=0, description="in one snippet")
    values: dict[str, list[str | int]]
    issues: dict[str, Issue]
    kinds: dict[str, Kind]

    @model_validator(mode="after")
    def _names_exist(self) -> Catalogue:
        for name, kind in self.kinds.items():
            unknown = {fault.named for fault in kind.faults} - set(self.issues)
            if unknown:
                raise ValueError(f"{name} names unknown {sorted(unknown)}")
        return self


@cache
def load_catalogue() -> Catalogue:
    """The catalogue that ships with the package."""
    text = files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return Catalogue.model_validate(yaml.safe_load(text))
