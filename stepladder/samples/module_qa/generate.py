"""Cases and examples of the module-qa sample, drawn from the modules' facts with a seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.samples.module_qa.documents import COMMUNITY, Module, read_modules
from stepladder.samples.module_qa.pages import page
from stepladder.samples.module_qa.questions import ABSTENTION, Fact, facts
from stepladder.settings import ModuleQaSample

Row = dict[str, Any]
Question = tuple[str, Fact]

# The scarcest kinds first: what one cannot fill goes to the next.
SHARES = {"which-module": 0.17, "choices": 0.20, "unanswerable": 0.15, "required": 0.22, "default": 0.26}
_CASE_MODULES = 0.3  # share of the modules that cases ask about
_MOST_SAME_ANSWER = {"default": 0.12, "choices": 0.12, "required": 0.5}  # share of a kind's questions
_MOST_PHRASINGS = {"case": 2, "example": 3}  # how often one fact may be asked


def choose_modules(wheels: dict[str, Path], sizes: ModuleQaSample, seed: int) -> list[Module]:
    """All of ansible.builtin, and ``community_modules`` of community.general (or every collection's)."""
    builtin = read_modules(wheels["ansible-core"])
    if sizes.all:
        return builtin + read_modules(wheels["ansible"])
    community = read_modules(wheels["ansible"], {COMMUNITY})
    rng = random.Random(f"module-qa modules {seed}")
    drawn = rng.sample(community, min(sizes.community_modules, len(community)))
    return builtin + sorted(drawn, key=lambda module: module.fqcn)


def pages(modules: list[Module]) -> dict[str, str]:
    """Markdown by page id, which is the module's full name."""
    return {module.fqcn: page(module) for module in modules}


def generate(modules: list[Module], sizes: ModuleQaSample, seed: int) -> tuple[list[Row], list[Row]]:
    """Cases and examples as JSON rows; no module (cluster) is asked about in both.

    Raises:
        StepladderError: the modules hold too few facts for the sizes asked for.
    """
    rng = random.Random(f"module-qa split {seed}")
    shuffled = rng.sample(modules, len(modules))
    count = round(_CASE_MODULES * len(modules))
    cases = _draw("case", shuffled[:count], modules, sizes.cases, seed)
    examples = _draw("example", shuffled[count:], modules, sizes.examples, seed)
    return (
        [_as_case(f"case-{i:04d}", *question) for i, question in enumerate(cases)],
        [_as_example(f"example-{i:04d}", *question) for i, question in enumerate(examples)],
    )


def _draw(part: str, modules: list[Module], known: list[Module], count: int, seed: int) -> list[Question]:
    rng = random.Random(f"module-qa {part} {seed}")
    by_slice: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts(modules, known, rng):
        by_slice[fact.slice].append(fact)
    drawn: list[Question] = []
    share_left = sum(SHARES.values())
    for kind, share in SHARES.items():
        quota = round((count - len(drawn)) * share / share_left)
        share_left -= share
        ordered = _spread(by_slice[kind], _MOST_PHRASINGS[part], rng)
        drawn += _varied(ordered, quota, _MOST_SAME_ANSWER.get(kind, 1.0))
    if len(drawn) < count:
        raise StepladderError(
            f"{len(modules)} modules give {len(drawn)} {part}s, not {count}",
            where="sample.module-qa",
            remedy="raise community_modules, or ask for fewer cases or examples",
        )
    rng.shuffle(drawn)
    return drawn


def _spread(found: list[Fact], phrasings: int, rng: random.Random) -> Iterator[Question]:
    """Questions in an order that first asks each fact once, and takes modules in turn."""
    shuffled = rng.sample(found, len(found))
    turns: Counter[str] = Counter()
    keyed = []
    for fact in shuffled:
        keyed.append((turns[fact.module], fact))
        turns[fact.module] += 1
    in_turn = [fact for _, fact in sorted(keyed, key=lambda pair: pair[0])]
    return ((fact.phrasings[i], fact) for i in range(phrasings) for fact in in_turn)


def _varied(ordered: Iterator[Question], count: int, most_same: float) -> list[Question]:
    """The first ``count`` questions of which no answer takes a larger share than ``most_same``."""
    answers: Counter[str] = Counter()
    asked: set[str] = set()
    kept: list[Question] = []
    most = max(1, round(most_same * count))
    for text, fact in ordered:
        if len(kept) == count:
            break
        if answers[fact.text] < most and text not in asked:
            answers[fact.text] += 1
            asked.add(text)
            kept.append((text, fact))
    return kept


def _shared_fields(fact: Fact) -> Row:
    return {
        "evidence": list(fact.evidence),
        "answerable": fact.answer != ABSTENTION,
        "slice": fact.slice,
        "cluster": fact.module,
    }


def _as_case(row_id: str, text: str, fact: Fact) -> Row:
    reference = fact.answer if isinstance(fact.answer, str) else list(fact.answer)
    return {"id": row_id, "input": text, "reference": reference, **_shared_fields(fact)}


def _as_example(row_id: str, text: str, fact: Fact) -> Row:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": fact.text}]
    return {"id": row_id, "messages": messages, **_shared_fields(fact)}
