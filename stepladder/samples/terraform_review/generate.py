"""Cases and examples of the terraform-review sample, drawn from the catalogue with a seed."""

from __future__ import annotations

import json
import random
from typing import Any

from stepladder.samples.terraform_review.catalogue import Catalogue, Edit, Fault, Kind, load_catalogue
from stepladder.samples.terraform_review.snippet import Snippet, make_block, make_snippet
from stepladder.samples.terraform_review.workloads import CASE_WORKLOADS, EXAMPLE_WORKLOADS
from stepladder.settings import TerraformReviewSample

Row = dict[str, Any]
_MOST_LINES = 13  # with its review about 230 tokens: what a training row on a CPU can afford
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
        if text not in seen and text.count("\n") < _MOST_LINES:
            seen.add(text)
            return {"id": row_id, **row}
    raise AssertionError("the catalogue is too small for this many different snippets")


def draw(catalogue: Catalogue, workload: str, rng: random.Random) -> Row:
    """One snippet of a workload with its slice and cluster."""
    shares = catalogue.shares
    share = rng.random()
    env = str(rng.choice(catalogue.values["env"]))
    if share < shares.clean + shares.distractor:
        family = "clean" if share < shares.clean else "distractor"
        kinds, edits = _draw_harmless(catalogue, family, rng)
        edits_by_kind = [edits]
    else:
        family = "fault"
        kinds = _draw_kinds(catalogue, rng)
        edits_by_kind = [_draw_faults(catalogue, catalogue.kinds[kinds[0]], rng)]
        # A second resource is sound as often as not, so that a reader must look at both.
        second = [catalogue.kinds[kind].faults for kind in kinds[1:]]
        edits_by_kind += [rng.choices(found, k=rng.randint(0, 1)) for found in second]
    env = _fitting_env(edits_by_kind, env, rng)
    known = {"name": workload, "env": env, "n": str(rng.randint(1, 999))}
    blocks = []
    for kind, edits in zip(kinds, edits_by_kind, strict=True):
        companions = [edit.companion for edit in edits if edit.companion]
        blocks += [make_block(catalogue, companion, [], known, rng) for companion in companions]
        blocks.append(make_block(catalogue, kind, edits, known, rng))
    snippet = make_snippet(blocks)
    return {
        "snippet": snippet,
        "slice": snippet.issues[0][1].category if family == "fault" else family,
        "cluster": f"{'+'.join(kinds)}/{workload}",
    }


def _draw_harmless(catalogue: Catalogue, family: str, rng: random.Random) -> tuple[list[str], list[Edit]]:
    if family == "clean":
        return [rng.choice(list(catalogue.kinds))], []
    pairs = [(name, edit) for name, kind in catalogue.kinds.items() for edit in kind.distractors]
    kind, edit = rng.choice(pairs)
    return [kind], [edit]


def _draw_kinds(catalogue: Catalogue, rng: random.Random) -> list[str]:
    """Kinds weighted by their number of faults, so that each fault is about as frequent as another."""
    names = list(catalogue.kinds)
    weights = [len(kind.faults) for kind in catalogue.kinds.values()]
    first = rng.choices(names, weights)[0]
    second = rng.choice([name for name in names if name != first])
    return [first, second] if rng.random() < catalogue.shares.two_resources else [first]


def _draw_faults(catalogue: Catalogue, kind: Kind, rng: random.Random) -> list[Edit]:
    chosen: list[Edit] = [rng.choice(kind.faults)]
    free = [fault for fault in kind.faults if _compatible(fault, chosen[0])]
    if free and rng.random() < catalogue.shares.two_faults:
        chosen.append(rng.choice(free))
    return chosen


def _compatible(fault: Fault, other: Edit) -> bool:
    return not set(fault.put) & set(other.put) and (not isinstance(other, Fault) or fault.at != other.at)


def _fitting_env(edits_by_kind: list[list[Edit]], env: str, rng: random.Random) -> str:
    limits = [set(edit.env) for edits in edits_by_kind for edit in edits if edit.env]
    allowed = sorted(set.intersection(*limits)) if limits else [env]
    return env if env in allowed else rng.choice(allowed)


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
