"""Questions made from modules: their truth, their balance, and what cases and examples share (nothing)."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.samples.module_qa.documents import Module, Option, read_modules
from stepladder.samples.module_qa.generate import SHARES, generate
from stepladder.samples.module_qa.questions import ABSTENTION, facts, load_templates
from stepladder.settings import ModuleQaSample
from stepladder.tasks import Case, Example

SIZES = ModuleQaSample(cases=60, examples=160)


def made_module(number: int) -> Module:
    rng = random.Random(number)
    options = [
        Option(
            name=f"opt_{number}_{i}",
            type="str",
            required=i % 2 == 0,
            default=None if i % 2 == 0 else f"value{rng.randint(0, 999)}",
            choices=(f"a{number}", f"b{i}") if i % 3 == 0 else (),
            description="",
            also=frozenset(),
        )
        for i in range(8)
    ]
    return Module(f"acme.tools.m{number}", f"Manage w{number}a w{number}b", "", tuple(options), True)


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return [made_module(number) for number in range(40)]


def test_the_facts_of_a_hand_made_module_are_true(wheel: Path) -> None:
    known = read_modules(wheel)
    [module] = [m for m in known if m.fqcn == "acme.tools.fetch_box"]
    found = {(f.slice, f.evidence, f.answer) for f in facts([module], known, random.Random(0))}
    option = "acme.tools.fetch_box#options/"
    assert {
        ("default", (option + "colour",), "green"),
        ("default", (option + "size",), "12"),
        ("default", (option + "loud",), "false"),
        ("choices", (option + "colour",), ("red", "green")),
        ("required", (option + "target",), "Yes"),
        ("required", (option + "size",), "No"),
        ("unanswerable", (), ABSTENTION),
    } <= found
    assert ("default", (option + "target",), "None") not in found


def test_a_page_that_lacks_shared_options_is_never_called_unanswerable(wheel: Path) -> None:
    known = read_modules(wheel)
    found = facts(known, known, random.Random(0))
    assert "acme.tools.deep.shared" not in {f.module for f in found if f.slice == "unanswerable"}


def test_a_short_name_that_two_modules_share_is_not_used() -> None:
    twins = [made_module(1), Module("other.tools.m1", "Read w1c w1d", "", made_module(1).options, True)]
    for fact in facts(twins, twins, random.Random(0)):
        if fact.slice != "which-module":
            assert all("tools.m1" in text for text in fact.phrasings)


def test_rows_fit_the_schema_and_the_sizes(modules: list[Module]) -> None:
    cases, examples = generate(modules, SIZES, 0)
    assert [len(cases), len(examples)] == [60, 160]
    for case in map(Case.model_validate, cases):
        assert case.answerable == bool(case.evidence)
        assert case.answerable or case.reference == ABSTENTION
    for example in map(Example.model_validate, examples):
        assert example.output


def test_no_module_is_asked_about_in_cases_and_examples(modules: list[Module]) -> None:
    cases, examples = generate(modules, SIZES, 0)
    assert not {row["cluster"] for row in cases} & {row["cluster"] for row in examples}


def test_questions_are_distinct_varied_and_balanced(modules: list[Module]) -> None:
    cases, examples = generate(modules, SIZES, 0)
    texts = [row["input"] for row in cases] + [row["messages"][0]["content"] for row in examples]
    assert len(set(texts)) == len(texts)
    shares = Counter(row["slice"] for row in examples)
    assert set(shares) == set(SHARES)
    assert all(abs(shares[kind] / 160 - share) < 0.05 for kind, share in SHARES.items())
    required = Counter(row["reference"] for row in cases if row["slice"] == "required")
    assert abs(required["Yes"] - required["No"]) <= 1


def test_each_kind_of_question_has_at_least_four_phrasings() -> None:
    assert all(len(load_templates()[kind]) >= 4 for kind in SHARES if kind != "unanswerable")


def test_the_seed_decides_every_row(modules: list[Module]) -> None:
    assert generate(modules, SIZES, 3) == generate(modules, SIZES, 3)
    assert generate(modules, SIZES, 3) != generate(modules, SIZES, 4)


def test_too_few_modules_say_what_to_raise(modules: list[Module]) -> None:
    with pytest.raises(StepladderError, match="12 modules give 528 cases") as caught:
        generate(modules, ModuleQaSample(cases=5000, examples=10), 0)
    assert "community_modules" in caught.value.remedy
