"""Cases and examples of the terraform-review sample, drawn from the catalogue with a seed."""

from __future__ import annotations

import json
import random
from typing import Any

from stepladder.samples.terraform_review.catalogue import Catalogue, Edit, Fault, Kind, load_catalogue
from stepladder.samples.terraform_review.snippet import Snippet, make_snippet
from stepladder.samples.terraform_review.workloads import CASE_WORKLOADS, EXAMPLE_WORKLOADS
from stepladder.settings import TerraformReviewSample

Row = dict[str, Any]
_MOST_TRIES = 200  # draws for one row before giving up: the space is far larger than any sample


def generate(sizes: TerraformReviewSample, seed: int) -> tuple[list[Row], list[Row]]:
    """Cases and examples as JSON rows.

    Workload names, and with them clusters, are disjoint between the two; no text stands twice.
    """
    catalogue = load_catalogue()
    seen: set[str] = set()
    drawn = {}
    for part, workloads, count in (
        ("case", CASE_WORKLOADS, sizes.cases),
        ("example", EXAMPLE_WORKLOADS, sizes.examples),
    ):
        rng = random.Random(f"terraform-review {part} {seed}")
        drawn[part] = [_new_row(f"{part}-{i:04d}", catalogue, workloads, rng, seen) for i in range(count)]
    return [_as_case(row) for row in drawn["case"]], [_as_example(row) for row in drawn["example"]]


def _new_row(
    row_id: str, catalogue: Catalogue, workloads: tuple[str, ...], rng: random.Random, seen: set[str]
) -> Row:
    for _ in range(_MOST_TRIES):
        row = draw(catalogue, rng.choice(workloads), rng)
        text = row["snippet"].text
        if text not in seen:
            seen.add(text)
            return {"id": row_id, **row}
    raise AssertionError("the catalogue is too small for this many different snippets")


def draw(catalogue: Catalogue, workload: str, rng: random.Random) -> Row:
    """One snippet of a workload with its slice and cluster."""
    sound_but_suspicious = rng.random() < catalogue.rates.distractor
    name = _draw_kind(catalogue, sound_but_suspicious, rng)
    kind = catalogue.kinds[name]
    edits: list[Edit] = (
        [rng.choice(kind.distractors)] if sound_but_suspicious else _draw_faults(catalogue, kind, rng)
    )
    env = _fitting_env(catalogue, edits, rng)
    known = {"name": workload, "env": env, "n": str(rng.randint(1, 999))}
    snippet = make_snippet(catalogue, name, edits, known, rng)
    return {
        "snippet": snippet,
        "slice": _slice(snippet, sound_but_suspicious),
        "cluster": f"{name}/{workload}",
    }


def _draw_kind(catalogue: Catalogue, sound_but_suspicious: bool, rng: random.Random) -> str:
    kinds = catalogue.kinds
    return rng.choice([name for name in kinds if not sound_but_suspicious or kinds[name].distractors])


def _draw_faults(catalogue: Catalogue, kind: Kind, rng: random.Random) -> list[Edit]:
    """Each fault with its rate, in random order, where it does not stand in the way of another."""
    chosen: list[Edit] = []
    for fault in rng.sample(kind.faults, len(kind.faults)):
        free = len(chosen) < catalogue.most_faults and all(_compatible(fault, other) for other in chosen)
        if free and rng.random() < catalogue.rates.fault:
            chosen.append(fault)
    return chosen


def _compatible(fault: Fault, other: Edit) -> bool:
    return not set(fault.put) & set(other.put)


def _fitting_env(catalogue: Catalogue, edits: list[Edit], rng: random.Random) -> str:
    limits = [edit.env for edit in edits if edit.env]
    return str(rng.choice(limits[0] if limits else catalogue.values["env"]))


def _slice(snippet: Snippet, sound_but_suspicious: bool) -> str:
    """The category of the first issue; ``clean`` or ``distractor`` where there is none."""
    if snippet.issues:
        return snippet.issues[0][1].category
    return "distractor" if sound_but_suspicious else "clean"


def _as_case(row: Row) -> Row:
    snippet: Snippet = row["snippet"]
    return {
        "id": row["id"],
        "input": snippet.text,
        "reference": json.loads(snippet.review),
        "slice": row["slice"],
        "cluster": row["cluster"],
    }


def _as_example(row: Row) -> Row:
    snippet: Snippet = row["snippet"]
    return {
        "id": row["id"],
        "messages": [
            {"role": "user", "content": snippet.text},
            {"role": "assistant", "content": snippet.review},
        ],
        "slice": row["slice"],
        "cluster": row["cluster"],
    }
