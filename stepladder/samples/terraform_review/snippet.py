"""One Terraform snippet and the review that is true of it, by construction."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stepladder.samples.terraform_review.catalogue import CATEGORIES, HEADER, Catalogue, Edit, Fault, Issue

_PLACEHOLDER = re.compile(r"<(\w+)>")
_ARGUMENT = re.compile(r"^( *)([\w-]+) += +(.*[^\[({]|[^\[({])$")


@dataclass(frozen=True)
class Snippet:
    """Raw HCL and its issues as (line number from 1, issue), in line order."""

    text: str
    issues: list[tuple[int, Issue]]

    @property
    def review(self) -> str:
        """The right answer, compact JSON: the issues of each category by line."""
        answer: dict[str, list[dict[str, str | int]]] = {category: [] for category in CATEGORIES}
        for line, issue in self.issues:
            answer[issue.category].append(
                {"severity": issue.severity, "line": line, "issue": issue.issue, "fix": issue.fix}
            )
        return json.dumps(answer, separators=(",", ":"))


def make_snippet(
    catalogue: Catalogue, kind_name: str, edits: Sequence[Edit], known: dict[str, str], rng: random.Random
) -> Snippet:
    """A resource of a kind with some edits.

    Args:
        edits: faults and distractors whose slots do not overlap.
        known: values of placeholders that are already fixed: ``name``, ``env``, ``n``.
    """
    kind = catalogue.kinds[kind_name]
    changed: dict[str, str | None] = {slot: text for edit in edits for slot, text in edit.put.items()}
    slots = {slot: changed.get(slot, text) for slot, text in kind.body.items()}
    kept = [
        slot
        for slot, text in slots.items()
        if text is not None and (slot in changed or slot not in kind.optional or rng.random() < 0.5)
    ]
    values = dict(known)
    lines = [_filled(f'resource "{kind.resource}" "{kind.label}" {{', values, catalogue, rng)]
    starts = {HEADER: 1}
    for slot in kept:
        starts[slot] = len(lines) + 1
        filled = _filled(str(slots[slot]), values, catalogue, rng)
        lines += ["  " + line for line in filled.splitlines()]
    lines.append("}")
    issues = [(starts[edit.at], catalogue.issues[edit.named]) for edit in edits if isinstance(edit, Fault)]
    return Snippet("\n".join(aligned(lines)), sorted(issues, key=lambda item: item[0]))


def _filled(text: str, values: dict[str, str], catalogue: Catalogue, rng: random.Random) -> str:
    """``text`` with its placeholders drawn; a placeholder keeps its value within one resource."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            values[name] = str(rng.choice(catalogue.values[name]))
        return values[name]

    return _PLACEHOLDER.sub(value, text)


def aligned(lines: list[str]) -> list[str]:
    """Equals signs of neighbouring one-line arguments in one column, as ``terraform fmt`` does."""
    out = list(lines)
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and _same_group(lines[start], lines[end]):
            end += 1
        group = [match for line in lines[start:end] if (match := _ARGUMENT.match(line))]
        width = max((len(match[2]) for match in group), default=0)
        out[start : start + len(group)] = [f"{m[1]}{m[2]:<{width}} = {m[3]}" for m in group]
        start = max(end, start + 1)
    return out


def _same_group(first: str, line: str) -> bool:
    one, other = _ARGUMENT.match(first), _ARGUMENT.match(line)
    return one is not None and other is not None and one[1] == other[1]
