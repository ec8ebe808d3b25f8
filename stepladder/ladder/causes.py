"""Why a case fails: one cause from what the cheap rungs and the probes did with it.

A probe is the rung again with one thing changed. Each is asked only while the cause is still open:

1. It answers where it should abstain: **grounding**.
2. ``rag`` passes where ``prompt`` fails, and the evidence was among what retrieval gave, every id of it:
   **knowledge**. If it was not, passing proves nothing yet: another form of ``prompt`` may mend it too
   (**format**); if none does, and the evidence alone is enough, the knowledge stood in another passage:
   **knowledge**.
3. The evidence alone (``gold-evidence``) mends it. Was that evidence among what retrieval gave? Then the
   other chunks led it astray: **grounding**. Else **retrieval**, and ``gold-among-distractors`` shows
   whether better retrieval would be enough.
4. Another form of asking (``constrained`` decoding, ``few-shot``) mends it, with the evidence given:
   **format**.
5. ``prompt`` passes, so that documents alone led it astray; or even with the evidence in hand it says what it
   says without any, and that is no stock answer, so that it answers against the evidence: **grounding** (the
   memorised answers of Longpre et al., 2021, "Entity-based knowledge conflicts in question answering").
6. Nothing mends it: **behaviour** where an adapter does or is expected to, else **capability**.

**reference** comes before all of them: two different rungs agree with each other, and not with the
reference (``stepladder.ladder.suspects``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from stepladder.evaluation.evidence import all_given
from stepladder.evaluation.records import Outcome
from stepladder.tasks import Case

Cause = Literal["knowledge", "retrieval", "grounding", "format", "behaviour", "capability", "reference"]
CAUSES: tuple[Cause, ...] = (
    "knowledge",
    "retrieval",
    "grounding",
    "format",
    "behaviour",
    "capability",
    "reference",
)
Need = Literal["documents", "training"]
MENDED_BY: Mapping[Need, tuple[Cause, ...]] = MappingProxyType(
    {"documents": ("knowledge", "retrieval"), "training": ("grounding", "format", "behaviour")}
)

Probe = Literal["gold-evidence", "gold-among-distractors", "constrained", "few-shot"]
PROBES: tuple[Probe, ...] = ("gold-evidence", "gold-among-distractors", "constrained", "few-shot")
FORM_PROBES: tuple[Probe, ...] = ("constrained", "few-shot")
PASS = 0.999  # least score of a case that counts as passed


@dataclass(frozen=True)
class Facts:
    """All that is known of one case.

    Attributes:
        case: with its evidence.
        prompt: what the rung without documents did.
        rag: what the rung with documents did; None for a task without documents.
        probes: what the probes did that were asked.
        possible: the form probes that the variant of the ``probed`` rung leaves open.
        adapters: what the adapter's rungs did; empty before there is one.
        disputed: several rungs agree with each other and not with the reference.
        stubborn: with the evidence it says what it says without, and that is no stock answer.
        adapter_expected: whether an adapter is expected to help (no pilot: it is).
    """

    case: Case
    prompt: Outcome
    rag: Outcome | None = None
    probes: Mapping[Probe, Outcome] = field(default_factory=dict)
    possible: frozenset[Probe] = frozenset(FORM_PROBES)
    adapters: tuple[Outcome, ...] = ()
    disputed: bool = False
    stubborn: bool = False
    adapter_expected: bool = True

    @property
    def fails(self) -> bool:
        """Whether a cheap rung fails it."""
        return not (passes(self.prompt) and (self.rag is None or passes(self.rag)))

    @property
    def rag_passes(self) -> bool:
        """Whether ``rag`` passes."""
        return self.rag is not None and passes(self.rag)

    @property
    def probed(self) -> str:
        """The rung whose form the probes change: the one that fails, ``rag`` where both do."""
        return "prompt" if self.rag is None or self.rag_passes else "rag"

    @property
    def given(self) -> bool:
        """Whether all of the evidence stood among the passages that ``rag`` was given."""
        return self.rag is not None and all_given(self.case, self.rag.retrieved)


def passes(outcome: Outcome) -> bool:
    """Whether a case is wholly right."""
    return outcome.score >= PASS


def next_probe(facts: Facts) -> Probe | None:
    """The probe to ask next; None where the cause is decided or nothing is left to ask."""
    documents = facts.rag is not None
    decided = documents and (not facts.case.answerable or (facts.rag_passes and facts.given))
    if not facts.fails or decided:
        return None
    if facts.rag_passes:
        return _next_form(facts) or _next_proof(facts)
    if documents and facts.case.evidence:
        if "gold-evidence" not in facts.probes:
            return "gold-evidence"
        if _mended(facts, "gold-evidence"):
            settled = facts.given or "gold-among-distractors" in facts.probes
            return None if settled else "gold-among-distractors"
    return _next_form(facts)


def _next_form(facts: Facts) -> Probe | None:
    if any(_mended(facts, probe) for probe in FORM_PROBES):
        return None
    left = (probe for probe in FORM_PROBES if probe in facts.possible and probe not in facts.probes)
    return next(left, None)


def _next_proof(facts: Facts) -> Probe | None:
    """Whether the evidence would do, where ``rag`` passes without it and another form does not."""
    settled = any(_mended(facts, probe) for probe in FORM_PROBES) or "gold-evidence" in facts.probes
    return "gold-evidence" if facts.case.evidence and not settled else None


def cause_of(facts: Facts) -> Cause | None:
    """Why the case fails; None where it does not."""
    if not facts.fails:
        return None
    return next(cause for cause, holds in _rules(facts) if holds)


def _rules(facts: Facts) -> list[tuple[Cause, bool]]:
    """The causes in the order in which they are looked for: the first that holds is the case's."""
    documents = facts.rag is not None
    proven = _mended(facts, "gold-evidence")
    adapted = any(passes(outcome) for outcome in facts.adapters)
    return [
        ("reference", facts.disputed),
        ("grounding", documents and not facts.case.answerable),
        ("knowledge", facts.rag_passes and facts.given),
        ("grounding", proven and facts.given),
        ("retrieval", proven and not facts.rag_passes),
        ("format", any(_mended(facts, probe) for probe in FORM_PROBES)),
        ("knowledge", facts.rag_passes and (proven or "gold-evidence" not in facts.probes)),
        ("grounding", facts.stubborn or (documents and passes(facts.prompt))),
        ("behaviour", adapted if facts.adapters else facts.adapter_expected),
        ("capability", True),
    ]


def behind(facts: Facts, cause: Cause | None) -> Cause | None:
    """What would still fail if the cause were mended: a second fault that the first one hides."""
    if cause == "retrieval" and "gold-among-distractors" in facts.probes:
        return None if _mended(facts, "gold-among-distractors") else "grounding"
    hidden = facts.rag is not None and not facts.rag_passes and facts.case.evidence
    if cause in ("format", "behaviour", "capability") and hidden:
        return None if facts.given else "retrieval"
    return None


def _mended(facts: Facts, probe: Probe) -> bool:
    return probe in facts.probes and passes(facts.probes[probe])
