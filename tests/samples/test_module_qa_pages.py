"""The form of a page, which the chunker and a very small model must be able to read."""

from __future__ import annotations

from pathlib import Path

from stepladder.data.headings import section_ids
from stepladder.samples.module_qa.documents import read_modules
from stepladder.samples.module_qa.pages import option_evidence, page

PAGE = """\
# acme.tools.fetch_box

Downloads boxes from a depot.

## Synopsis

Gets a box with `curl`, see the guide. Use `acme.tools.store` to put it back.

## Options

### colour

Option colour of the Ansible fetch_box module.
Type: str
Required: no
Default: green
Choices: red, green

"""


def test_the_facts_stand_before_the_description(wheel: Path) -> None:
    [module] = [m for m in read_modules(wheel) if m.fqcn == "acme.tools.fetch_box"]
    assert page(module).startswith(PAGE)


def test_every_option_has_a_section_that_evidence_can_name(wheel: Path) -> None:
    for module in read_modules(wheel):
        sections = section_ids(module.fqcn, page(module))
        assert {option_evidence(module, option) for option in module.options} <= sections
        assert module.fqcn in sections
