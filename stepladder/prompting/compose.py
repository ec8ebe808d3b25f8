"""From a question to the engine's request: the one code path of evaluation, ``ask`` and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stepladder.knowledge.chunk import Chunk
from stepladder.prompting.context import fit_context
from stepladder.prompting.render import render
from stepladder.tasks import Example, Message, Rung, Strict, Task


class Plan(Strict):
    """How a rung asks: what an evaluation chose on dev, and what a release freezes."""

    rung: Rung
    shots: tuple[Example, ...] = ()
    constrained: bool = False
    context_tokens: int

    @property
    def tuned(self) -> bool:
        """Whether the adapter answers."""
        return self.rung.startswith("lora")

    @property
    def retrieval(self) -> bool:
        """Whether the question comes with retrieved context."""
        return self.rung.endswith("rag")

    @property
    def variant(self) -> str:
        """A short name: ``zero-shot``, ``few-shot``, with ``+schema`` when decoding is constrained."""
        return ("few-shot" if self.shots else "zero-shot") + ("+schema" if self.constrained else "")


class Request(Strict):
    """What the engine is asked: all that decides the answer, besides the model."""

    messages: list[dict[str, str]]
    output_schema: dict[str, Any] | None
    max_tokens: int


def compose(
    task: Task,
    plan: Plan,
    question: str,
    retrieved: Sequence[Chunk] = (),
    count_tokens: Callable[[str], int] = len,
    history: Sequence[Message] = (),
) -> tuple[Request, list[Chunk]]:
    """The request for one question, and the chunks that fitted into it (the answer's sources).

    Args:
        task: prompt, templates, schema and output length.
        plan: the rung and its variant.
        question: the case's or user's input.
        retrieved: chunks, best first; ignored by rungs without retrieval.
        count_tokens: counts tokens for the context budget.
        history: earlier turns of a conversation; evaluation asks without.
    """
    context = fit_context(retrieved, plan.context_tokens, count_tokens) if plan.retrieval else []
    messages = render(
        task,
        question,
        tuned=plan.tuned,
        context=context if plan.retrieval else None,
        shots=plan.shots,
        history=history,
    )
    schema = task.spec.output_schema if plan.constrained else None
    return Request(messages=messages, output_schema=schema, max_tokens=task.spec.max_output_tokens), context
