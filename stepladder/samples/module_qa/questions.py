"""Facts of modules as questions: one fact in several phrasings, with its answer and its evidence."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from stepladder.samples.module_qa.documents import Module, Option
from stepladder.samples.module_qa.pages import option_evidence
from stepladder.samples.module_qa.purpose import purposes

ABSTENTION = "Not in the documents."
_MOST_CHOICES = 6
_LONGEST_ANSWER = 40  # characters of a default, or of one choice
_ABSENT_PER_MODULE = 6
_STRANGERS_TRIED = 30


@dataclass(frozen=True)
class Fact:
    """Something a page says, or (``unanswerable``) does not say."""

    slice: str
    module: str
    answer: str | tuple[str, ...]
    evidence: tuple[str, ...]
    phrasings: tuple[str, ...]

    @property
    def text(self) -> str:
        """The answer as said."""
        return self.answer if isinstance(self.answer, str) else ", ".join(self.answer)


@cache
def load_templates() -> dict[str, list[str]]:
    """Phrasings by slice, and the list of verbs."""
    raw = yaml.safe_load(files(__package__).joinpath("templates.yaml").read_text(encoding="utf-8"))
    return {**raw, "verbs": raw["verbs"].split()}


def facts(modules: Collection[Module], known: Collection[Module], rng: random.Random) -> list[Fact]:
    """All facts of ``modules``; ``known`` are all that have a page, among which a name must be unique."""
    shared = Counter(module.short_name for module in known)
    named = {module.fqcn: _names(module, shared) for module in modules}
    what_for = purposes(known, set(load_templates()["verbs"]))
    strangers = sorted({option.name for module in known for option in module.options})
    found: list[Fact] = []
    for module in modules:
        names = named[module.fqcn]
        for option in module.options:
            found += _of_option(module, option, names, rng)
        if module.fqcn in what_for:
            phrasings = [text.format(task=what_for[module.fqcn]) for text in load_templates()["which-module"]]
            asked = tuple(rng.sample(phrasings, len(phrasings)))
            found.append(Fact("which-module", module.fqcn, module.fqcn, (module.fqcn,), asked))
        if module.complete:
            drawn = rng.sample(strangers, min(_STRANGERS_TRIED, len(strangers)))
            absent = [name for name in drawn if not module.knows(name)]
            for name in absent[:_ABSENT_PER_MODULE]:
                kind = rng.choice(["default", "choices", "required"])
                asked = _phrasings(kind, name, names, rng)
                found.append(Fact("unanswerable", module.fqcn, ABSTENTION, (), asked))
    return found


def _names(module: Module, shared: Counter[str]) -> list[str]:
    """How questions may call a module: its full name, and its short one where only this module has it."""
    return [module.fqcn, module.short_name] if shared[module.short_name] == 1 else [module.fqcn]


def _of_option(module: Module, option: Option, names: list[str], rng: random.Random) -> Iterator[Fact]:
    evidence = option_evidence(module, option)

    def fact(kind: str, answer: str | tuple[str, ...]) -> Fact:
        return Fact(kind, module.fqcn, answer, (evidence,), _phrasings(kind, option.name, names, rng))

    if option.default and _sayable(option.default) and option.type not in {"list", "dict"}:
        yield fact("default", option.default)
    if 2 <= len(option.choices) <= _MOST_CHOICES and all(map(_sayable, option.choices)):
        yield fact("choices", option.choices)
    yield fact("required", "Yes" if option.required else "No")


def _sayable(value: str) -> bool:
    return bool(value.strip()) and len(value) <= _LONGEST_ANSWER and not set(value) & set(",\n")


def _phrasings(kind: str, option: str, names: list[str], rng: random.Random) -> tuple[str, ...]:
    """Every phrasing of a question about an option, in random order."""
    templates = load_templates()[kind]
    shuffled = rng.sample(templates, len(templates))
    return tuple(text.format(option=option, module=rng.choice(names)) for text in shuffled)
