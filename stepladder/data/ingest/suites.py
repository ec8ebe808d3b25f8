"""What is expected of a batch: suites of Great Expectations, as data.

The columns are those of ``columns`` and ``pages``. Each expectation names the check that it stands for
(``meta.check``); what follows a failed check is ``ingest.actions`` in params.yaml, or where it is not
named there, quarantine: such a row would stop every later stage. Lengths are in characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepladder.data.ingest.records import Kind
from stepladder.data.suites import LONGEST_ID, LONGEST_PAGE, LONGEST_TEXT

Expectation = dict[str, Any]

_UNSEEN = 0.01  # the share that a distribution leaves to values it has not seen


def _expect(check: str, kind: str, notes: str, **arguments: Any) -> Expectation:
    return {"type": f"expect_{kind}", "kwargs": arguments, "meta": {"check": check, "notes": notes}}


def _sound(check: str, notes: str) -> Expectation:
    """The column of the check's name holds a fault in words: it must be null."""
    return _expect(check, "column_values_to_be_null", notes, column=check)


def _length(column: str, most: int) -> Expectation:
    notes = f"{column} is empty or longer than {most:,} characters"
    return _expect(
        "length", "column_value_lengths_to_be_between", notes, column=column, min_value=1, max_value=most
    )


_ROWS = [
    _sound("form", "has not the form of its kind"),
    _expect("id", "column_values_to_be_unique", "another row of the batch has its id", column="id"),
    _sound("taken", "the dataset has its id"),
    _length("id", LONGEST_ID),
    _length("input", LONGEST_TEXT),
    _sound("answer", "the answer does not obey the task's output schema, or its scorer cannot read it"),
    _sound("evidence", "names evidence that does not exist"),
    _sound("leak", "a case stands in the examples"),
    _sound("conflict", "a known input, with another answer"),
    _sound("secret", "holds a secret"),
    _sound("personal", "holds personal data"),
    _sound("language", "is in another language"),
]

SUITES: dict[Kind, list[Expectation]] = {
    "knowledge": [
        _sound("form", "is no page"),
        _length("text", LONGEST_PAGE),
        _sound("orphans", "rows name what would be gone"),
        _sound("secret", "holds a secret"),
        _sound("personal", "holds personal data"),
        _sound("language", "is in another language"),
    ],
    "cases": _ROWS,
    "examples": [
        *_ROWS,
        _sound("roles", "the turns do not alternate"),
        _length("output", LONGEST_TEXT),
        _sound("near_duplicate", "says nearly what a known row says"),
    ],
}


def drift_expectation(what: str, seen: Mapping[str, int], most: float) -> Expectation:
    """The batch's distribution of a trait diverges from the dataset's by at most ``most`` nats.

    Args:
        what: the trait: slice, label or length.
        seen: how many rows of the dataset have each of its values.
        most: Kullback-Leibler divergence of the batch from the dataset.
    """
    known = {value: n for value, n in seen.items() if n}
    total = sum(known.values())
    return _expect(
        f"{what}_drift",
        "column_kl_divergence_to_be_less_than",
        f"the batch's {what}s are not distributed as the dataset's",
        column=what,
        partition_object={"values": list(known), "weights": [n / total for n in known.values()]},
        threshold=most,
        tail_weight_holdout=_UNSEEN,
    )
