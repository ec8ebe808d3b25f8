"""The digest of a decision: the same for the same answers, however long the machine took to give them."""

from __future__ import annotations

from typing import Any

from stepladder.files import digest_value
from stepladder.ladder.form import Verdict

# What holds a measured time, or moves with one through `level` (a rung too slow leaves more to the others),
# or says how often the cases were looked at. The champion's numbers decide through the comparison with it;
# older verdicts do not tell them.
_TIMED = {
    "title",
    "sentence",
    "costs",
    "break_even",
    "training",
    "flips",
    "burdens",
    "champion_release",
    "champion_measured",
    "sizes",
    "level",
    "cases_needed",
    "open",
    "case_set",
    "warnings",
    "digest",
}
_TIMED_IN_RUNG = {"cost_per_1000", "latency_p95_ms", "reasons", "lower_bound", "cases_needed"}
_TIMED_IN_CRITERION = {"bound"}
_OF_TIMES = ("latency", "cost")


def decision_digest(verdict: Verdict) -> str:
    """SHA-256 of what is decided and why.

    Latency and cost are measured times: they enter as what they decide, the order of the rungs and the
    answers to the questions asked of them, and not as numbers.
    """
    return digest_value(decided(verdict))


def decided(verdict: Verdict) -> dict[str, Any]:
    """What the digest covers."""
    whole = verdict.model_dump(mode="json", exclude=_TIMED)
    rungs = {rung: _untimed(judged) for rung, judged in whole["rungs"].items()}
    skipped = sorted(whole["skipped"])  # why a rung was skipped is told with the hours that it would take
    return {**whole, "rungs": rungs, "order": list(rungs), "skipped": skipped}


def _untimed(judged: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in judged.items() if key not in _TIMED_IN_RUNG}
    return {**kept, "criteria": [_answer(one) for one in judged["criteria"]]}


def _answer(criterion: dict[str, Any]) -> dict[str, Any]:
    if criterion["name"] in _OF_TIMES:
        return {key: criterion[key] for key in ("name", "limit", "state")}
    return {key: value for key, value in criterion.items() if key not in _TIMED_IN_CRITERION}
