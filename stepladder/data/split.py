"""Which rows serve for what: the cases evaluated, the dev examples, the few-shot pool."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stepladder.files import digest_text
from stepladder.tasks import Case, Example

# At most a fifth of the examples is held out, and no more is spent on clusters cut in two by the dev set.
_HELD_OUT_PART = 5


class Split(NamedTuple):
    """Examples by use, each in file order. ``set_aside``: of the dev rows' clusters, and not needed."""

    train: list[Example]
    dev: list[Example]
    set_aside: list[Example]


def proportional_quotas(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Share ``total`` rows among slices in proportion to their sizes, by largest remainder.

    No slice gets more than it has; the sum is ``min(total, sum of sizes)``.
    """
    rows = sum(sizes.values())
    total = min(total, rows)
    if not rows:
        return {}
    exact = {name: size * total / rows for name, size in sizes.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    left = total - sum(quotas.values())
    for name in sorted(exact, key=lambda name: (quotas[name] - exact[name], name))[:left]:
        quotas[name] += 1
    return quotas


def draw_cases(cases: Sequence[Case], size: int | None) -> list[Case]:
    """``size`` cases in file order, each slice by its share; within a slice the smallest SHA-256 of the id.

    Chosen by hash and not at random, so that cases added later move few of those drawn, and a response
    cached for one of them stays of use. None draws all.
    """
    if size is None or size >= len(cases):
        return list(cases)
    quotas = proportional_quotas(Counter(case.slice for case in cases), size)
    drawn: set[str] = set()
    for case in sorted(cases, key=lambda case: digest_text(case.id)):
        if quotas[case.slice]:
            quotas[case.slice] -= 1
            drawn.add(case.id)
    return [case for case in cases if case.id in drawn]


def split_examples(examples: Sequence[Example], dev_rows: int, seed: int) -> Split:
    """Hold out about ``dev_rows`` examples whose clusters training never sees.

    Clusters are visited in an order given by the seed. Those of which at least half is wanted, slice by
    slice, are taken first, then the least wasteful. An example without a cluster is a cluster by itself.
    No conversation is held out: cases are asked as single questions.
    Fewer rows are held out when the examples are few (a fifth of them at most, but one at least) or their
    clusters large. With a single cluster, or with conversations alone, nothing can be held out and ``dev`` is
    empty.
    """
    clusters: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        clusters[_cluster(example)].append(example)
    if len(clusters) < 2:
        return Split(list(examples), [], [])
    most = max(1, len(examples) // _HELD_OUT_PART)
    slices = Counter(example.slice for example in examples if not example.history)
    wanted = Counter(proportional_quotas(slices, min(dev_rows, most)))
    dev: set[str] = set()
    held: set[str] = set()
    spent = 0
    order = sorted(clusters, key=lambda name: digest_text(f"{seed}:{name}"))
    for name in order:
        useful = _useful(clusters[name], wanted)
        if useful and 2 * len(useful) >= len(clusters[name]):
            wanted.subtract(example.slice for example in useful)
            dev.update(example.id for example in useful)
            held.add(name)
            spent += len(clusters[name])
    rest = [name for name in order if name not in held]
    for name in sorted(rest, key=lambda name: len(clusters[name])):
        useful = _useful(clusters[name], wanted)
        if useful and (not held or spent + len(clusters[name]) <= 2 * most):
            wanted.subtract(example.slice for example in useful)
            dev.update(example.id for example in useful)
            held.add(name)
            spent += len(clusters[name])
    return Split(
        train=[example for example in examples if _cluster(example) not in held],
        dev=[example for example in examples if example.id in dev],
        set_aside=[e for e in examples if _cluster(e) in held and e.id not in dev],
    )


def choose_few_shot(train: Sequence[Example], rows: int, seed: int) -> list[Example]:
    """A pool of examples to show, most telling first: slices in turn, and new clusters before known ones.

    Any first part of the pool is as diverse in slices as its length allows. Conversations are left out: a
    prompt shows one question and its answer.
    """
    queues: dict[str, list[Example]] = defaultdict(list)
    single = [example for example in train if not example.history]
    for example in sorted(single, key=lambda example: digest_text(f"{seed}:{example.id}")):
        queues[example.slice].append(example)
    turns = sorted(queues, key=lambda name: (-len(queues[name]), name))
    pool: list[Example] = []
    seen: set[str] = set()
    while len(pool) < min(rows, len(single)):
        for name in turns:
            queue = queues[name]
            if queue and len(pool) < rows:
                fresh = next((e for e in queue if _cluster(e) not in seen), queue[0])
                queue.remove(fresh)
                seen.add(_cluster(fresh))
                pool.append(fresh)
    return pool


def _cluster(example: Example) -> str:
    # The line break keeps an id from meeting the cluster of another row.
    return example.cluster or f"\n{example.id}"


def _useful(rows: Sequence[Example], wanted: Mapping[str, int]) -> list[Example]:
    """The single questions that slices still want, no more of each than is wanted."""
    left = Counter(wanted)
    useful = []
    for example in rows:
        if left[example.slice] > 0 and not example.history:
            left[example.slice] -= 1
            useful.append(example)
    return useful
