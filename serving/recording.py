"""What is kept of an interaction, as records and as metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from serving.errors import ApiError
from serving.gateway import Gateway
from serving.interaction import Answer, Asked
from serving.store import Event


@contextmanager
def recorded(
    gateway: Gateway, asked: Asked, answer: Answer, trace: str, limit: asyncio.Timeout
) -> Iterator[None]:
    """Record what was asked now, and what became of it when the block is left, however it is.

    Args:
        limit: the deadline around the block. It is asked, not the clock: timers may fire a little early.
    """
    messages = [turn.model_dump() for turn in asked.said.history]
    messages.append({"role": "user", "content": asked.said.question})
    _record(
        gateway,
        asked,
        "asked",
        {
            "messages": messages,
            **_who(asked, trace),
            **({"unit": asked.unit, "trial": asdict(asked.trial)} if asked.trial else {}),
        },
    )
    try:
        yield
        answer.outcome = "abstained" if answer.abstained else "answered"
    except ApiError as error:
        answer.outcome = error.code
        raise
    except asyncio.CancelledError:
        answer.outcome = "deadline_exceeded" if limit.expired() else "cancelled"
        raise
    except Exception:
        answer.outcome = "internal_error"
        raise
    finally:
        took = time.monotonic() - asked.came
        _record(gateway, asked, "answered", told(answer, took))
        _measure(gateway, asked, answer, took)


def record_refusal(gateway: Gateway, asked: Asked, refusal: ApiError, trace: str) -> None:
    """Record that the queue had no room, in one event and without the text: refusing must stay cheap."""
    _record(gateway, asked, "refused", {"outcome": refusal.code, **_who(asked, trace)})
    version = asked.serving.registered.version
    gateway.metrics.interactions.labels(asked.task, version, refusal.code).inc()


def _who(asked: Asked, trace: str) -> dict[str, Any]:
    return {
        "version": asked.serving.registered.version,
        "key": asked.key_id,
        "trace": trace,
        "stream": bool(asked.chat.stream),
    }


def _record(gateway: Gateway, asked: Asked, kind: str, body: dict[str, Any]) -> None:
    gateway.store.append(
        Event(
            kind=kind,
            interaction=asked.id,
            task=asked.task,
            release=asked.serving.digest,
            body=body,
            at=time.time(),
        )
    )


def told(answer: Answer, took: float) -> dict[str, Any]:
    """What is recorded of an answer; ``took``: seconds, with those in the queue."""
    return {
        "outcome": answer.outcome,
        "answer": answer.text,
        "finish_reason": answer.finish_reason,
        "valid": answer.valid,
        "chunks": [[source.id, source.score] for source in answer.sources],
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "latency_ms": _ms(took),
        "queued_ms": _ms(answer.queued_s),
        "retrieval_ms": _ms(answer.retrieval_s),
        "engine_ms": _ms(answer.engine_s),
        "first_token_ms": _ms(answer.first_token_s),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def _measure(gateway: Gateway, asked: Asked, answer: Answer, took: float) -> None:
    task, metrics = asked.task, gateway.metrics
    metrics.interactions.labels(task, asked.serving.registered.version, answer.outcome).inc()
    metrics.seconds.labels(task).observe(took)
    metrics.engine_seconds.labels(task).observe(answer.engine_s)
    if asked.serving.retrieval:
        metrics.retrieval_seconds.labels(task).observe(answer.retrieval_s)
    if answer.first_token_s is not None:
        metrics.first_token_seconds.labels(task).observe(answer.first_token_s)
    metrics.tokens.labels(task, "prompt").inc(answer.prompt_tokens)
    metrics.tokens.labels(task, "completion").inc(answer.completion_tokens)
