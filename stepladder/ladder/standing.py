"""How a rung without an adapter stands: whether it is good enough, and what is open that training leaves so.

An adapter may mend a score, a form or when to abstain. It runs on the same base model, which it makes neither
faster nor cheaper, and it brings no case that a guardrail lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

from stepladder.ladder.burden import WHAT_TO_CHANGE, told
from stepladder.ladder.criteria import Asked, Bounded, Measured, Risen
from stepladder.ladder.form import Burden
from stepladder.tasks import Bars

_MENDABLE = ("score", "abstention", "valid")


@dataclass(frozen=True)
class Standing:
    """A cheap rung before its bar and guardrails, by the verdict's own tests.

    Attributes:
        good: it is shown to meet all that training could mend.
        beyond: a clause for each guardrail that it is not shown to meet and that training does not touch.
    """

    good: bool
    beyond: tuple[str, ...] = ()


def standing_of(rung: str, asked: Asked, bars: Bars, p95_ms: float, level: float) -> Standing:
    """How a rung stands.

    Args:
        rung: its name.
        asked: what its task asks of it.
        bars: the same limits, as they were written.
        p95_ms: its p95 latency as measured, milliseconds.
        level: at which the verdict would let it stop the climb.
    """
    missed = [question for question in asked.questions if question.p_holds > level]
    return Standing(
        good=not any(_mendable(question) for question in missed),
        beyond=tuple(
            _clause(rung, question, bars, p95_ms, level) for question in missed if not _mendable(question)
        ),
    )


def _mendable(question: Bounded | Risen | Measured) -> bool:
    return question.name in _MENDABLE and isinstance(question, Bounded)


def _clause(rung: str, question: Bounded | Risen | Measured, bars: Bars, p95_ms: float, level: float) -> str:
    if isinstance(question, Measured) and question.estimate is None:
        return (
            f"{rung} is good enough in all that was measured: to show its {question.name}, unanswerable cases"
            " are needed"
        )
    burden = _burden(rung, question, bars, p95_ms, level)
    if burden is not None:
        return f"{told(burden)}; {WHAT_TO_CHANGE}"
    asked = f"{question.cases} cases" if isinstance(question, Bounded) else "what was asked"
    return f"{rung} is good enough, and {asked} do not show its {question.name} to be: more are needed"


def _burden(
    rung: str, question: Bounded | Risen | Measured, bars: Bars, p95_ms: float, level: float
) -> Burden | None:
    """A limit that is measured as broken; None where too few cases leave it open."""
    if isinstance(question, Measured) and question.estimate is not None:
        return Burden(
            rung=rung, guardrail="cost", measured=question.estimate, limit=question.limit, shown=True
        )
    if bars.latency_p95_ms is None or p95_ms <= bars.latency_p95_ms:
        return None
    return Burden(
        rung=rung,
        guardrail="latency",
        measured=p95_ms,
        limit=bars.latency_p95_ms,
        shown=question.p_fails <= level,
    )
