"""Answers in OpenAI's form: whole, and as the events of a stream."""

from __future__ import annotations

import json
from typing import Any

from serving.errors import ApiError
from serving.interaction import Answer, Asked

_DONE = b"data: [DONE]\n\n"


def whole(asked: Asked, answer: Answer) -> dict[str, Any]:
    """A ``chat.completion``."""
    message = {"role": "assistant", "content": answer.text + answer.addition, "refusal": None}
    return {
        "id": asked.id,
        "object": "chat.completion",
        "created": asked.created,
        "model": asked.chat.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": answer.finish_reason or "stop",
                "logprobs": None,
            }
        ],
        "usage": _usage(answer),
        "stepladder": answer.extra(asked).model_dump(mode="json"),
    }


def opened(asked: Asked, answer: Answer) -> bytes:
    """The first event: the sources are known before the first word."""
    extra = answer.extra(asked).model_dump(mode="json")
    return _chunk(asked, {"role": "assistant", "content": ""}, stepladder=extra)


def spoken(asked: Asked, text: str) -> bytes:
    """An event with a piece of the answer."""
    return _chunk(asked, {"content": text})


def closed(asked: Asked, answer: Answer) -> list[bytes]:
    """The last events: inline sources, the reason of the end, and the usage where it was asked for."""
    parts = [spoken(asked, answer.addition)] if answer.addition else []
    extra = answer.extra(asked).model_dump(mode="json")
    parts.append(_chunk(asked, {}, answer.finish_reason or "stop", stepladder=extra))
    options = asked.chat.stream_options
    if options and options.include_usage:
        parts.append(_event({**_frame(asked), "choices": [], "usage": _usage(answer)}))
    return [*parts, _DONE]


def failed(error: ApiError) -> bytes:
    """The event that tells a failure after the stream began."""
    return _event(error.body())


def _chunk(asked: Asked, delta: dict[str, str], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, **_end(finish_reason)}
    return _event({**_frame(asked), "choices": [choice], **more})


def _end(finish_reason: str | None) -> dict[str, str | None]:
    return {"finish_reason": finish_reason, "logprobs": None}


def _frame(asked: Asked) -> dict[str, Any]:
    return {
        "id": asked.id,
        "object": "chat.completion.chunk",
        "created": asked.created,
        "model": asked.chat.model,
    }


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()
