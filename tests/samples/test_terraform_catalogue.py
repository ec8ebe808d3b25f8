"""The catalogue is as large and as sound as the sample promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Template
from pydantic import ValidationError

from stepladder.samples.terraform_review.catalogue import CATEGORIES, Catalogue, load_catalogue

CATALOGUE = load_catalogue()


def test_it_holds_enough_faults_and_kinds() -> None:
    used = {fault.named for kind in CATALOGUE.kinds.values() for fault in kind.faults}
    assert used == set(CATALOGUE.issues)
    assert len({CATALOGUE.issues[name].issue for name in used}) >= 20
    assert len({kind.resource for kind in CATALOGUE.kinds.values()}) >= 12
    assert {CATALOGUE.issues[name].category for name in used} == set(CATEGORIES)


def test_issue_texts_are_short_and_tell_faults_apart() -> None:
    texts = [issue.issue for issue in CATALOGUE.issues.values()]
    assert len(set(texts)) == len(texts)
    assert all(2 <= len(text.split()) <= 5 for text in texts)


def test_there_are_distractors() -> None:
    assert sum(len(kind.distractors) for kind in CATALOGUE.kinds.values()) >= 10


def test_the_untuned_prompt_knows_every_issue() -> None:
    source = (Path(__file__).parents[2] / "tasks/terraform-review/prompt.md").read_text()
    full, short = (Template(source).render(tuned=tuned, retrieval=False) for tuned in (False, True))
    assert [issue.issue for issue in CATALOGUE.issues.values() if issue.issue not in full] == []
    assert len(short.split()) < 10


def test_a_fault_on_a_slot_that_is_not_there_is_refused() -> None:
    raw = CATALOGUE.model_dump(by_alias=True)
    raw["kinds"]["efs"]["faults"][0]["at"] = "nowhere"
    with pytest.raises(ValidationError, match="nowhere"):
        Catalogue.model_validate(raw)


def test_an_unknown_issue_is_refused() -> None:
    raw = CATALOGUE.model_dump(by_alias=True)
    raw["kinds"]["efs"]["faults"][0]["is"] = "ghost"
    with pytest.raises(ValidationError, match="ghost"):
        Catalogue.model_validate(raw)
