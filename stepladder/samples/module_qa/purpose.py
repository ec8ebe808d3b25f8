"""What a module does, as a question says it: "Manages LVM volumes" becomes "manage LVM volumes"."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from stepladder.samples.module_qa.documents import Module

_LINKING = {"or", "and", "and/or", "/"}
_STOP_WORDS = {"a", "an", "the", "of", "on", "in", "to", "for", "and", "or", "with", "from", "your", "its"}
_SAME_FROM = 0.6  # Jaccard similarity of words from which two purposes are not told apart
_FEWEST_WORDS = 3


def purposes(modules: Collection[Module], verbs: set[str]) -> dict[str, str]:
    """Purpose by module name, only where it neither names the module nor resembles another one's."""
    found = {module.fqcn: text for module in modules if (text := _purpose(module, verbs))}
    everything = {module.fqcn: _words(found.get(module.fqcn, module.summary)) for module in modules}
    alike = _alike(everything)
    return {fqcn: text for fqcn, text in found.items() if fqcn not in alike}


def _purpose(module: Module, verbs: set[str]) -> str | None:
    text = infinitive(module.summary.replace("`", ""), verbs)
    if text is None or len(text.split()) < _FEWEST_WORDS:
        return None
    told = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
    name = module.short_name.lower()
    given_away = name in told or " ".join(name.split("_")) in " ".join(told)
    return None if given_away else text


def infinitive(summary: str, verbs: set[str]) -> str | None:
    """The summary with its leading verbs in their base form; None if it begins with no known verb."""
    words = summary.split()
    plain: list[str] = []
    for word in words:
        parts = [_base(part, verbs) for part in word.rstrip(",").split("/")]
        # "delete checks": a word that only looks like a verb neither opens the summary nor is linked to one.
        linked = not plain or plain[-1] in _LINKING or plain[-1].endswith(",")
        if word.lower() in _LINKING and plain:
            plain.append(word.lower())
        elif linked and all(parts):
            plain.append("/".join(map(str, parts)) + ("," if word.endswith(",") else ""))
        else:
            break
    if not plain:
        return None
    return " ".join([*plain, *words[len(plain) :]])


def _base(word: str, verbs: set[str]) -> str | None:
    lower = word.lower()
    forms = [lower, lower.removesuffix("s"), lower.removesuffix("es"), re.sub("ies$", "y", lower)]
    return next((form for form in forms if form in verbs), None)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", text.lower())) - _STOP_WORDS


def _alike(words: dict[str, frozenset[str]]) -> set[str]:
    """Keys whose word sets resemble another's.

    Candidates share one of their rarest words: prefix filtering (Bayardo, Ma, Srikant 2007, "Scaling up
    all pairs similarity search"), so thousands of modules need no comparison of all pairs.
    """
    frequency = Counter(word for group in words.values() for word in group)
    holders: dict[str, list[str]] = defaultdict(list)
    for key, group in words.items():
        for word in _rarest(group, frequency):
            holders[word].append(key)
    return {key for keys in holders.values() for pair in _pairs(keys, words) for key in pair}


def _rarest(group: frozenset[str], frequency: Counter[str]) -> list[str]:
    ordered = sorted(group, key=lambda word: (frequency[word], word))
    return ordered[: len(group) - math.ceil(_SAME_FROM * len(group)) + 1]


def _pairs(keys: list[str], words: dict[str, frozenset[str]]) -> Iterator[tuple[str, str]]:
    for position, one in enumerate(keys):
        for other in keys[position + 1 :]:
            shared = len(words[one] & words[other])
            if shared >= _SAME_FROM * (len(words[one]) + len(words[other]) - shared):
                yield one, other
