"""Ask the engine, through a cache keyed by all that decides an answer.

The engine is started only when some response is missing, and at most once for each model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stepladder.cache import Cache
from stepladder.engine import RunningEngine, tail
from stepladder.errors import StepladderError
from stepladder.evaluation.records import Response
from stepladder.files import digest_value
from stepladder.prompting.compose import Request

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SAMPLING = {"temperature": 0.0, "seed": 0}

Progress = Callable[[int, int], None]


@dataclass
class Responder:
    """Answers requests for one model, from the cache where it can.

    Attributes:
        model_digest, adapter_digest: identify what generates.
        cache: holds responses by digest of (model, adapter, request, sampling).
        start: gives a running engine; entered at the first missing response.
        concurrency: requests in flight.
        timeout_s: for one request.
    """

    model_digest: str
    adapter_digest: str | None
    cache: Cache
    start: Callable[[], AbstractContextManager[RunningEngine]]
    concurrency: int
    timeout_s: float
    _stack: ExitStack = field(default_factory=ExitStack)
    _engine: RunningEngine | None = None
    asked: int = 0

    def respond(
        self, requests: Sequence[Request], progress: Progress = lambda _done, _all: None
    ) -> list[Response]:
        """One response for each request, in order.

        Every answer is stored as it arrives, so an interrupted evaluation goes on where it stopped.

        Raises:
            StepladderError: the engine does not start, dies, or refuses a request.
        """
        keys = [self._key(request) for request in requests]
        known = {key: Response.model_validate_json(value) for key, value in self.cache.get(keys).items()}
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        if missing:
            known |= self._ask(missing, progress)
        return [known[key] for key in keys]

    def _key(self, request: Request) -> str:
        return digest_value(
            [self.model_digest, self.adapter_digest, request.model_dump(mode="json"), SAMPLING]
        )

    def _ask(self, missing: dict[str, Request], progress: Progress) -> dict[str, Response]:
        if self._engine is None:
            self._engine = self._stack.enter_context(self.start())
        self.asked += len(missing)
        return asyncio.run(self._ask_all(missing, self._engine, progress))

    async def _ask_all(
        self, missing: dict[str, Request], engine: RunningEngine, progress: Progress
    ) -> dict[str, Response]:
        from openai import AsyncOpenAI

        gate = asyncio.Semaphore(self.concurrency)
        answers: dict[str, Response] = {}
        started = time.monotonic()

        async def one(client: AsyncOpenAI, key: str, request: Request) -> None:
            async with gate:
                answer = await _complete(client, engine, request)
            # Until the batch is whole: what a request takes, shared with those in flight beside it.
            share = answer.latency_ms / 1000 / min(self.concurrency, len(missing))
            answers[key] = answer.model_copy(update={"engine_s": share})
            self._store({key: answers[key]})
            progress(len(answers), len(missing))

        async with AsyncOpenAI(
            base_url=engine.url, api_key="none", timeout=self.timeout_s, max_retries=1
        ) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for key, request in missing.items():
                        group.create_task(one(client, key, request))
            except ExceptionGroup as failures:
                raise _explain(failures.exceptions[0], engine, len(answers), len(missing)) from failures
        share = (time.monotonic() - started) / len(missing)
        settled = {key: answer.model_copy(update={"engine_s": share}) for key, answer in answers.items()}
        self._store(settled)
        return settled

    def _store(self, answers: dict[str, Response]) -> None:
        self.cache.put({key: answer.model_dump_json().encode() for key, answer in answers.items()})

    def close(self) -> None:
        """End the engine, if one was started."""
        self._stack.close()


@contextmanager
def responding(responder: Responder) -> Iterator[Responder]:
    """End the responder's engine when the block is left."""
    try:
        yield responder
    finally:
        responder.close()


def engine_body(model: str, request: Request) -> dict[str, Any]:
    """A request as the engine is sent it, by evaluation and by the gateway."""
    body: dict[str, Any] = {
        "model": model,
        "messages": request.messages,
        "max_tokens": request.max_tokens,
        **SAMPLING,
    }
    if request.output_schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": request.output_schema},
        }
    return body


async def _complete(client: AsyncOpenAI, engine: RunningEngine, request: Request) -> Response:
    started = time.monotonic()
    answer = await client.chat.completions.create(**engine_body(engine.model, request))
    if answer.usage is None:
        raise StepladderError("the engine does not report token usage", where=engine.url)
    return Response(
        text=answer.choices[0].message.content or "",
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        latency_ms=round((time.monotonic() - started) * 1000, 1),
        engine_s=0.0,
    )


def _explain(failure: BaseException, engine: RunningEngine, done: int, wanted: int) -> StepladderError:
    from openai import APIConnectionError, APIError, APITimeoutError

    if isinstance(failure, StepladderError):
        return failure
    if not isinstance(failure, APIError):
        raise failure
    if isinstance(failure, APITimeoutError):
        what, remedy = "a request timed out", "raise engine.request_timeout_s or lower engine.concurrency"
    elif isinstance(failure, APIConnectionError):
        what, remedy = "the engine went away", "read its log; lower engine.kv_cache_gib if memory ran out"
    else:
        what, remedy = f"the engine refused a request: {failure.message}", "see engine.max_model_len"
    log = f":\n{tail(engine.log)}" if engine.log else ""
    return StepladderError(
        f"{what} after {done} of {wanted} responses{log}",
        where=str(engine.log or engine.url),
        remedy=f"{remedy}; then run the same command again, the {done} responses are kept",
    )
