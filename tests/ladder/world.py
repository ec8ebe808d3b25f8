"""A made-up assistant whose failures are known by construction, answering through the real code path.

Case ``i`` asks for the value of key ``i``, which page ``i`` states. What the model says depends on the case's
gap, on whether the evidence stands in the prompt, alone or among others, and on whether examples are shown.
Without documents (``BARE_GAPS``) the model knows by itself what the pages would state. In the third world
(``REVIEWS``) it reviews: answers are JSON, scored by F1, and constrained decoding can give them their form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepladder.evaluation.evidence import Places
from stepladder.evaluation.records import Response, RungOutcomes
from stepladder.evaluation.resampling import Resampling
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.index import Retrieved
from stepladder.ladder.attribution import Tried
from stepladder.prompting.compose import Plan, Request
from stepladder.stages.answering import Assistant, Contexts
from stepladder.stages.probes import ask_probes, find_places
from stepladder.tasks import Bars, Case, Example, Task, TaskSpec

SPEC = TaskSpec(
    title="Values of keys",
    scorer="exact",
    bars=Bars(score=0.8),
    margin=0.05,
    monthly_requests=1000,
    abstention="I do not know",
)
_ISSUES = {"type": "array", "items": {"type": "object"}}
REVIEWS = TaskSpec(
    title="Faults of keys",
    scorer="issue-f1",
    bars=Bars(score=0.8),
    margin=0.05,
    monthly_requests=1000,
    output_schema={"type": "object", "properties": {"security": _ISSUES, "cost": _ISSUES}},
)
TOP_K = 3
DEPTH = 10
GAPS = ("none", "knowledge", "retrieval", "distracted", "rash", "memory", "format", "behaviour", "capability",
        "reference", "primed", "elsewhere", "bold", "misled", "halves")  # fmt: skip
BARE_GAPS = ("none", "format", "behaviour", "capability", "reference")
CAUSE = {
    "none": None,
    "primed": "format",  # any passage shows the form, and so would examples
    "elsewhere": "knowledge",  # another passage than the evidence says it
    "bold": "grounding",  # answers where it should abstain, until it sees documents
    "misled": "grounding",  # knows it until it sees documents
    "distracted": "grounding",  # led astray by other chunks
    "rash": "grounding",  # answers where it should abstain
    "memory": "grounding",  # answers against the evidence
    "halves": "retrieval",  # needs two pages, of which only one is found
}
SECOND = 100_000  # what the second page of a case that needs two adds to its number
UNANSWERABLE = ("rash", "bold")
SHOTS = [
    Example.model_validate({"prompt": f"What is the value of shown {i}?", "completion": f"shown-{i}"})
    for i in range(2)
]


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def page(number: int) -> Chunk:
    text = f"The value of key {number} is value-{number}."
    return Chunk(id=f"page-{number}#", page=f"page-{number}", heading=(), text=text)


class MadeUpRetriever:
    """Evidence first, or seventh (even cases) or nowhere (odd ones) where the gap is retrieval.

    Nowhere too where it is not the evidence that mends a case. Of two pages of evidence the second stands so.
    """

    def __init__(self, gaps: Sequence[str]) -> None:
        self._gaps = gaps
        self.asked: list[str] = []

    def retrieve_many(self, questions: Sequence[str], limit: int | None = None) -> list[list[Retrieved]]:
        self.asked += questions
        return [self._ranked(key_of(question))[: limit or TOP_K] for question in questions]

    def _ranked(self, number: int) -> list[Retrieved]:
        total = len(self._gaps)
        others = [page((number + step) % total) for step in range(1, DEPTH + 1)]
        nowhere = dict.fromkeys(("rash", "bold", "primed", "elsewhere"))
        place = {"retrieval": 6 if number % 2 == 0 else None, **nowhere}.get(self._gaps[number], 0)
        ranked = others if place is None else [*others[:place], page(number), *others[place:]]
        if self._gaps[number] == "halves" and number % 2 == 0:
            ranked = [*ranked[:6], page(number + SECOND), *ranked[6:]]
        return [Retrieved(chunk=chunk, score=1.0) for chunk in ranked]

    def chunks_for(self, evidence: Sequence[str]) -> list[Chunk]:
        return [page(int(wanted.removeprefix("page-"))) for wanted in evidence]

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def key_of(text: str) -> int:
    return int(re.findall(r"key (\d+)", text)[-1])


@dataclass
class MadeUpResponder:
    """Answers by gap; with ``noise``, now and then otherwise. Counts what it is asked."""

    gaps: Sequence[str]
    noise: float = 0.0
    tuned: bool = False
    spec: TaskSpec = SPEC
    documents: bool = True
    model_digest: str = "m"
    adapter_digest: str | None = None
    cache: Any = None  # no judge scores here
    asked: int = 0

    def respond(self, requests: Sequence[Request], _progress: Any = None, _names: Any = ()) -> list[Response]:
        self.asked += len(requests)
        return [
            Response(
                text=self._say(request), prompt_tokens=9, completion_tokens=3, latency_ms=1, engine_s=0.1
            )
            for request in requests
        ]

    def _say(self, request: Request) -> str:
        asked = request.messages[-1]["content"]
        question = asked.rsplit("Question:", 1)[-1]
        number = key_of(question)
        formed = request.output_schema is not None
        truth = _written(self.spec, f"value-{number}", number)
        junk = _written(self.spec, f"junk-{chance(number, self.tuned, request.messages):.6f}", number)
        sees = truth in asked or not self.documents
        if self.gaps[number] == "halves":
            sees = sees and f"value-{number + SECOND}." in asked
        shown = formed or len(request.messages) > 2
        right = self._right(self.gaps[number], sees, asked.count("The value of"), shown)
        if chance("noise", number, self.tuned, request.messages, formed) < self.noise:
            right = not right
        if right and self.gaps[number] in UNANSWERABLE:
            return SPEC.abstention
        if not right and self.gaps[number] == "memory":
            return f"memory-{number}"
        if not right and self.gaps[number] == "format" and sees:
            return f"The answer is {truth}, I think."
        return truth if right else junk

    def _right(self, gap: str, sees: bool, passages: int, shown: bool) -> bool:
        return {
            "none": True,
            "knowledge": sees,
            "retrieval": sees,
            "halves": sees,
            "reference": sees,
            "distracted": sees and passages == 1,
            "rash": False,
            "memory": False,
            "format": sees and shown,
            "behaviour": self.tuned,
            "capability": False,
            "primed": passages > 0 or shown,
            "elsewhere": passages > 0,
            "bold": passages > 0,
            "misled": passages == 0,
        }[gap]


def _written(spec: TaskSpec, value: str, number: int) -> str:
    """A value as the task asks for it: by itself, or as one of two findings of a review."""
    return value if spec.scorer == "exact" else json.dumps(_review(value, number))


def _review(value: str, number: int) -> dict[str, Any]:
    """Two findings, of which only the second tells what the value is: to miss it is to be half right."""
    plain = {"line": 1, "issue": f"key {number} is set"}
    return {"security": [plain], "cost": [{"line": 2, "issue": value}]}


def make_world(
    gaps: Sequence[str],
    folder: Path,
    noise: float = 0.0,
    cluster: int = 1,
    *,
    spec: TaskSpec = SPEC,
    documents: bool = True,
) -> tuple[Tried, MadeUpResponder]:
    """Cheap rungs and probes over one case a gap, asked through the real code.

    Args:
        gaps: of each case.
        folder: any; nothing is written.
        noise: how often an answer is turned round.
        cluster: cases in a cluster.
        spec: ``SPEC`` or ``REVIEWS``.
        documents: whether the task has any; without, only ``BARE_GAPS`` are possible.
    """
    cases = [
        Case(
            id=f"case-{number:04d}",
            input=f"What is the value of key {number}?",
            reference=_reference(spec, gap, number),
            answerable=gap not in UNANSWERABLE,
            evidence=_evidence(gap, number) if documents else [],
            cluster=f"cluster-{number // cluster}",
        )
        for number, gap in enumerate(gaps)
    ]
    responder = MadeUpResponder(gaps, noise, spec=spec, documents=documents)
    task = Task(folder, spec, "Answer with the value only.")
    contexts = Contexts(MadeUpRetriever(gaps) if documents else None)  # type: ignore[arg-type]
    assistant = Assistant(task, contexts, responder)  # type: ignore[arg-type]
    plans = {rung: Plan(rung=rung, context_tokens=1000) for rung in ("prompt", "rag")[: 1 + documents]}
    cheap = {rung: assistant.answer(plan, cases) for rung, plan in plans.items()}
    probes = ask_probes(assistant, plans, cheap, cases, [], SHOTS)
    places = find_places(assistant, cheap["rag"], cases, DEPTH) if documents else Places(depth=DEPTH)
    how = Resampling(resamples=200)
    tried = Tried(spec=spec, cases=cases, cheap=cheap, probes=probes, places=places, how=how)
    return tried, responder


def _evidence(gap: str, number: int) -> list[str]:
    if gap in UNANSWERABLE:
        return []
    return [f"page-{number}", *([f"page-{number + SECOND}"] if gap == "halves" else [])]


def _reference(spec: TaskSpec, gap: str, number: int) -> Any:
    if gap in UNANSWERABLE:
        return SPEC.abstention
    value = f"planted-{number}" if gap == "reference" else f"value-{number}"
    return value if spec.scorer == "exact" else _review(value, number)


def with_adapters(tried: Tried, gaps: Sequence[str], folder: Path, noise: float = 0.0) -> Tried:
    """The same with the answers of an adapter."""
    documents = "rag" in tried.cheap
    task = Task(folder, tried.spec, "Answer.")
    responder = MadeUpResponder(
        gaps, noise, tuned=True, adapter_digest="a", spec=tried.spec, documents=documents
    )
    contexts = Contexts(MadeUpRetriever(gaps) if documents else None)  # type: ignore[arg-type]
    assistant = Assistant(task, contexts, responder)  # type: ignore[arg-type]
    adapters: dict[str, RungOutcomes] = {
        rung: assistant.answer(Plan(rung=rung, context_tokens=1000), tried.cases)
        for rung in ("lora", "lora+rag")[: 1 + documents]
    }
    return replace(tried, adapters=adapters)
