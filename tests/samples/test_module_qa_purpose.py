"""What a module is for, said so that only one module is meant and its name is not given away."""

from __future__ import annotations

import pytest

from stepladder.samples.module_qa.documents import Module
from stepladder.samples.module_qa.purpose import infinitive, purposes
from stepladder.samples.module_qa.questions import load_templates

VERBS = set(load_templates()["verbs"])


def module(fqcn: str, summary: str) -> Module:
    return Module(fqcn, summary, "", (), True)


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ("Manages LVM volumes", "manage LVM volumes"),
        ("Copies files to hosts", "copy files to hosts"),
        ("Add or removes gpg keys", "add or remove gpg keys"),
        ("Creates/deletes a disk", "create/delete a disk"),
        ("Create, update, and delete checks", "create, update, and delete checks"),
        ("Manages logs", "manage logs"),
        ("Package manager for boxes", None),
    ],
)
def test_a_summary_becomes_an_infinitive_or_nothing(summary: str, said: str | None) -> None:
    assert infinitive(summary, VERBS) == said


def test_what_gives_the_name_away_or_fits_two_modules_is_not_asked() -> None:
    found = purposes(
        [
            module("a.b.apk", "Manages apk packages on hosts"),
            module("a.b.git_config", "Read git config values"),
            module("a.b.one", "Manage network routes in the lab"),
            module("a.b.two", "Manage network routes in a lab"),
            module("a.b.disk", "Resize volumes while they are mounted"),
        ],
        VERBS,
    )
    assert found == {"a.b.disk": "resize volumes while they are mounted"}
