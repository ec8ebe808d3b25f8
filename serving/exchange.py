"""One interaction, from the queue to its record: retrieve, ask the engine, tell the client, write down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serving.asking import engine_request
from serving.errors import ApiError
from serving.gateway import Gateway
from serving.inline import inlined
from serving.interaction import Answer, Asked
from serving.recording import record_refusal, recorded
from serving.retrieval import passages_for
from serving.router import Passage
from serving.tracing import span_of, trace_id
from stepladder.data.references import abstains

if TYPE_CHECKING:
    from opentelemetry.trace import Span

Tell = Callable[[Answer, str], None]
"""Called with the answer so far and the text that came last, empty before the first."""


async def exchange(gateway: Gateway, asked: Asked, tell: Tell | None = None) -> Answer:
    """Answer a request, by the one release that it took, and record it, however it ends.

    Args:
        tell: asks the engine to stream, and takes what it says.

    Raises:
        ApiError: the release's queue is full, the deadline passed, or the engine failed.
    """
    answer, gate = Answer(), gateway.gate(asked.serving)
    with gateway.router.using(asked.serving), _root_span(gateway, asked) as span:
        try:
            if busy := gate.refusal():
                answer.outcome = busy.code
                record_refusal(gateway, asked, busy, trace_id(span))
                raise busy
            async with asyncio.timeout_at(asked.deadline) as limit:
                with recorded(gateway, asked, answer, trace_id(span), limit):
                    async with gate.entered():
                        answer.queued_s = time.monotonic() - asked.came
                        await _answer(gateway, asked, answer, tell)
        except TimeoutError as error:
            raise ApiError(504, "deadline_exceeded", "the deadline passed before the end") from error
        finally:
            span.set_attribute("stepladder.outcome", answer.outcome)
            _let_shadow_answer(gateway, asked, answer)
    return answer


def _let_shadow_answer(gateway: Gateway, asked: Asked, answer: Answer) -> None:
    """Also where the champion failed; not where it was not asked, or the client left."""
    trial = asked.trial
    if trial is None or not trial.shadow or not trial.takes(asked.unit):
        return
    if answer.queued_s is not None and answer.outcome != "cancelled":
        gateway.shadows.answer(asked, answer)


async def _answer(gateway: Gateway, asked: Asked, answer: Answer, tell: Tell | None) -> None:
    started = time.monotonic()
    found: list[Passage] = []
    if asked.serving.retrieval and asked.serving.registered.release.plan.retrieval:
        with span_of(gateway.tracer, "retrieve"):
            found = await passages_for(asked.said.question, asked.serving.retrieval)
        answer.retrieval_s = time.monotonic() - started
    body, answer.sources = engine_request(asked.serving, asked.chat, asked.said, found)
    asking = time.monotonic()
    with span_of(gateway.tracer, "engine") as span:
        headers = _outgoing()
        if tell:
            await _streamed(gateway, asked, body, headers, answer, tell)
        else:
            _take(answer, await gateway.engines.complete(asked.serving.engine, body, headers))
        span.set_attribute("gen_ai.usage.output_tokens", answer.completion_tokens)
    answer.engine_s = time.monotonic() - asking
    answer.abstained = abstains(asked.serving.task.spec, answer.text)
    answer.valid = asked.serving.is_valid(answer.text) if asked.chat.response_format is None else None
    inline = gateway.settings.of_task(asked.task).inline_sources
    if inline and answer.sources and not answer.abstained and not asked.wants_schema:
        answer.addition = inlined(answer.sources)


async def _streamed(
    gateway: Gateway,
    asked: Asked,
    body: dict[str, Any],
    headers: Mapping[str, str],
    answer: Answer,
    tell: Tell,
) -> None:
    async for chunk in gateway.engines.stream(asked.serving.engine, body, headers):
        if answer.first_token_s is None:
            answer.first_token_s = time.monotonic() - asked.came
            tell(answer, "")
        if text := _take(answer, chunk):
            tell(answer, text)


def _take(answer: Answer, said: Mapping[str, Any]) -> str:
    """Add an answer, or a chunk of one, to what is known; returns its text."""
    if usage := said.get("usage"):
        answer.prompt_tokens = usage.get("prompt_tokens", 0)
        answer.completion_tokens = usage.get("completion_tokens", 0)
    choices = said.get("choices")
    if not choices:
        return ""
    answer.finish_reason = choices[0].get("finish_reason") or answer.finish_reason
    text = (choices[0].get("message") or choices[0].get("delta") or {}).get("content") or ""
    answer.text += text
    return str(text)


@contextmanager
def _root_span(gateway: Gateway, asked: Asked) -> Iterator[Span]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract(asked.trace)
    attributes = {
        "stepladder.task": asked.task,
        "stepladder.release": asked.serving.digest,
        "stepladder.interaction": asked.id,
    }
    with span_of(gateway.tracer, "chat", parent, attributes) as span:
        yield span


def _outgoing() -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers
