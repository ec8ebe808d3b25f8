"""Cases whose reference may be wrong: those that could know agree, and not with the reference.

Agreement is no evidence where everybody gives that answer to everything. So the answer must be one that
so many would hardly agree on by chance: with the shares of the other cases on which each of them gives that
answer, their product must be small. It is also no evidence where the reference itself can be read in the
evidence, or where any rung gives it.

A rung and its probes are one witness: the same model that misreads the same passage twice is heard once.
Such a case is listed for a person to look at; only where two different rungs agree is the reference
*disputed*, and named as the cause. A rung that was not shown the evidence is a witness where it agrees (it
knew), and none where it does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping
from math import prod
from typing import Any

from pydantic import Field

from stepladder.data.references import normalise
from stepladder.evaluation.evidence import all_given
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.score import said
from stepladder.ladder.causes import PROBES, passes
from stepladder.tasks import Case, Strict, TaskSpec

STOCK = 0.05  # share of the cases from which an answer is a stock answer
_LEAST_RUNGS = 2  # that dispute a reference: with fewer it is suspect only
_WITHOUT_DOCUMENTS = ("prompt", "lora")


class Suspect(Strict):
    """A case for a person to look at: what all in ``agreeing`` said, against the reference.

    ``rungs``: those among them, with those whose probes are. ``chance``: of these rungs agreeing on that by
    accident.
    """

    id: str
    input: str
    reference: Any
    answer: str
    agreeing: list[str]
    rungs: list[str] = Field(description="the different rungs behind them: a probe speaks for its rung")
    chance: float

    @property
    def disputed(self) -> bool:
        """Whether several rungs agree against the reference, and not one with its own probes."""
        return len(self.rungs) >= _LEAST_RUNGS


class Sayings:
    """What every rung and probe says, and how often it says it."""

    def __init__(self, spec: TaskSpec, by_name: Mapping[str, RungOutcomes]) -> None:
        self._said: dict[str, dict[str, Hashable | None]] = {
            name: {one.id: said(spec, one.response.text) for one in outcomes.outcomes}
            for name, outcomes in by_name.items()
        }
        self._counts = {name: Counter(answers.values()) for name, answers in self._said.items()}

    def of(self, name: str, case: str) -> Hashable | None:
        """What a rung or probe says of a case; None where it abstains or was not asked."""
        return self._said.get(name, {}).get(case)

    def asked(self, name: str) -> int:
        """How many cases a rung or probe was asked."""
        return self._counts[name].total()

    def share(self, name: str, answer: Hashable) -> float:
        """How often it gives a case's answer to other cases: (others + 1/2) / (cases + 1).

        The half is that of Krichevsky and Trofimov (1981), so that no answer is impossible.
        """
        return (self._counts[name][answer] - 0.5) / (self._counts[name].total() + 1)


def suspects(
    spec: TaskSpec,
    cases: Mapping[str, Case],
    by_name: Mapping[str, RungOutcomes],
    read_in_evidence: Mapping[str, bool],
) -> list[Suspect]:
    """The suspect cases, disputed ones first, then the least likely accident.

    Args:
        spec: the scorer, which says when two answers are the same.
        cases: by id.
        by_name: outcomes of rungs and probes.
        read_in_evidence: of the cases for which it is known, whether the reference stands in the evidence.
    """
    sayings = Sayings(spec, by_name)
    probed = "rag" if "rag" in by_name else "prompt"
    asked = {name: {one.id: one for one in outcomes.outcomes} for name, outcomes in by_name.items()}
    found = []
    for case in cases.values():
        if read_in_evidence.get(case.id):
            continue
        outcomes = {name: rows[case.id] for name, rows in asked.items() if case.id in rows}
        suspect = _judge(case, outcomes, sayings, probed)
        if suspect:
            found.append(suspect)
    return sorted(found, key=lambda one: (-len(one.rungs), one.chance, one.id))


def stubborn(case: Case, sayings: Sayings) -> bool:
    """Whether the evidence changes nothing of what is said, and that is no stock answer."""
    without, given = sayings.of("prompt", case.id), sayings.of("gold-evidence", case.id)
    return without is not None and without == given and sayings.share("prompt", without) < STOCK


def reads_in(reference: Any, evidence: str) -> bool | None:
    """Whether every value of a reference stands in the evidence; None where it could not be looked for.

    Yes and no are conclusions, and a reference that is no text or list of texts has no one wording.
    """
    values = reference if isinstance(reference, list) else [reference]
    if not values or not all(isinstance(value, str | int | float) for value in values):
        return None
    words = [normalise(str(value)) for value in values]
    if any(word in ("", "yes", "no") for word in words):
        return None
    text = normalise(evidence)
    return all(re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", text) is not None for word in words)


def _informed(case: Case, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Those that could know the answer: where there are documents, those that were shown the evidence."""
    if not any(name.endswith("rag") for name in outcomes):
        return dict(outcomes)
    with_documents = {name: one for name, one in outcomes.items() if name not in _WITHOUT_DOCUMENTS}
    if not case.answerable or not case.evidence:
        return with_documents
    return {
        name: one for name, one in with_documents.items() if name in PROBES or all_given(case, one.retrieved)
    }


def _judge(case: Case, outcomes: Mapping[str, Outcome], sayings: Sayings, probed: str) -> Suspect | None:
    informed = _informed(case, outcomes)
    answers = {sayings.of(name, case.id) for name in informed}
    if len(informed) < 2 or len(answers) > 1 or any(passes(one) for one in outcomes.values()):
        return None
    (answer,) = answers
    if answer is None:
        return None
    agreeing = sorted(
        name
        for name in outcomes
        if sayings.of(name, case.id) == answer and (name in informed or sayings.share(name, answer) < STOCK)
    )
    # By rung, what tells best how readily it gives that answer: itself, or the probe that was asked most.
    heard = {probed if name in PROBES else name: name for name in sorted(agreeing, key=sayings.asked)}
    chance = prod(sayings.share(name, answer) for name in heard.values())
    if chance > STOCK ** len(heard):
        return None
    return Suspect(
        id=case.id,
        input=case.input,
        reference=case.reference,
        answer=outcomes[agreeing[0]].response.text.strip(),
        agreeing=agreeing,
        rungs=sorted(heard),
        chance=round(chance, 8),
    )
