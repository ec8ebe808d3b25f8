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
from stepladder.console import OnProgress
from stepladder.engine import RunningEngine, tail
from stepladder.errors import StepladderError
from stepladder.evaluation.records import Response
from stepladder.failures import without_password
from stepladder.files import digest_value
from stepladder.prompting.compose import Request

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

SAMPLING = {"temperature": 0.0, "seed": 0}

# Seconds between attempts when the engine fails at a request but still runs.
PAUSES_S = (0.5, 1.0, 2.0, 4.0)

Named = tuple[str, Request]
"""A request with a name for errors, such as ``case c12``."""


@dataclass
class Responder:
    """Answers requests for one model, from the cache where it can.

    Attributes:
        model_digest, adapter_digest: identify what generates.
        cache: holds responses by digest of (model, adapter, request, sampling).
        start: gives a running engine; entered at the first missing response.
        concurrency: requests in flight.
        timeout_s: for one request.
        check: called with the requests to ask before the engine starts; it raises what stands against them.
        hardware: what the engine runs on, stored with each response; None where that is not known.
    """

    model_digest: str
    adapter_digest: str | None
    cache: Cache
    start: Callable[[], AbstractContextManager[RunningEngine]]
    concurrency: int
    timeout_s: float
    check: Callable[[Sequence[Named]], None] = lambda _: None
    hardware: str | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _engine: RunningEngine | None = None
    asked: int = 0

    def respond(
        self,
        requests: Sequence[Request],
        progress: OnProgress = lambda _done, _all: None,
        names: Sequence[str] = (),
    ) -> list[Response]:
        """One response for each request, in order.

        Every answer is stored as it arrives, so an interrupted evaluation goes on where it stopped.

        Args:
            requests: what to ask.
            progress: called with (done, all) while the engine answers.
            names: of the requests, for errors; by default ``request 1`` and so on.

        Raises:
            StepladderError: the engine does not start, dies, or refuses a request.
        """
        keys = [self._key(request) for request in requests]
        named = list(zip(names or _numbers(requests), requests, strict=True))
        known = {key: Response.model_validate_json(value) for key, value in self.cache.get(keys).items()}
        missing = {key: one for key, one in zip(keys, named, strict=True) if key not in known}
        if missing:
            known |= self._ask(missing, progress)
        return [known[key] for key in keys]

    def _key(self, request: Request) -> str:
        return digest_value(
            [self.model_digest, self.adapter_digest, request.model_dump(mode="json"), SAMPLING]
        )

    def _ask(self, missing: dict[str, Named], progress: OnProgress) -> dict[str, Response]:
        self.check(list(missing.values()))
        if self._engine is None:
            self._engine = self._stack.enter_context(self.start())
        self.asked += len(missing)
        return asyncio.run(self._ask_all(missing, self._engine, progress))

    async def _ask_all(
        self, missing: dict[str, Named], engine: RunningEngine, progress: OnProgress
    ) -> dict[str, Response]:
        from openai import APIError, AsyncOpenAI

        gate = asyncio.Semaphore(self.concurrency)
        in_flight = min(self.concurrency, len(missing))
        answers: dict[str, Response] = {}
        started = time.monotonic()

        async def one(client: AsyncOpenAI, key: str, name: str, request: Request) -> None:
            async with gate:
                try:
                    answer = await _persist(client, engine, request)
                except APIError as failure:
                    raise _explain(failure, engine, name, f"{len(answers)} of {len(missing)}") from failure
            # Until the batch is whole: what a request takes, shared with those in flight beside it.
            share = answer.latency_ms / 1000 / in_flight
            noted = {"engine_s": share, "in_flight": in_flight, "hardware": self.hardware}
            answers[key] = answer.model_copy(update=noted)
            self._store({key: answers[key]})
            progress(len(answers), len(missing))

        async with AsyncOpenAI(
            base_url=engine.url, api_key="none", timeout=self.timeout_s, max_retries=0
        ) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for key, (name, request) in missing.items():
                        group.create_task(one(client, key, name, request))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from failures
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


def _numbers(requests: Sequence[Request]) -> list[str]:
    return [f"request {number}" for number in range(1, len(requests) + 1)]


async def _persist(client: AsyncOpenAI, engine: RunningEngine, request: Request) -> Response:
    """Ask, and again after a pause while the engine fails at it or cannot be reached, but still runs."""
    from openai import APIConnectionError, APITimeoutError, InternalServerError

    for pause in PAUSES_S:
        try:
            return await _complete(client, engine, request)
        except APITimeoutError:
            raise
        except (APIConnectionError, InternalServerError):
            if not engine.alive():
                raise
        await asyncio.sleep(pause)
    return await _complete(client, engine, request)


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
        raise StepladderError("the engine does not report token usage", where=without_password(engine.url))
    return Response(
        text=answer.choices[0].message.content or "",
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        latency_ms=round((time.monotonic() - started) * 1000, 1),
        engine_s=0.0,
    )


def _explain(failure: APIError, engine: RunningEngine, name: str, done: str) -> StepladderError:
    """The error for a request that the engine did not answer, ``done`` responses being there."""
    from openai import APIConnectionError, APITimeoutError, InternalServerError

    if isinstance(failure, APITimeoutError):
        what, remedy = "a request timed out", "raise engine.request_timeout_s or lower engine.concurrency"
    elif isinstance(failure, APIConnectionError | InternalServerError) and not engine.alive():
        what, remedy = "the engine went away", "read its log; lower engine.kv_cache_gib if memory ran out"
    elif isinstance(failure, APIConnectionError):
        what, remedy = "the engine runs, but cannot be reached", "read its log, and check engine.url"
    elif isinstance(failure, InternalServerError):
        what, remedy = f"the engine failed at {name} again and again: {failure.message}", "read its log"
    else:
        what = f"the engine refused {name}: {failure.message}"
        remedy = "mend what it names; a prompt that is too long needs a shorter row, fewer context_tokens or"
        remedy += " few_shot examples, or a larger engine.max_model_len"
    log = f":\n{tail(engine.log)}" if engine.log else ""
    return StepladderError(
        f"{what} after {done} responses{log}",
        where=str(engine.log or without_password(engine.url)),
        remedy=f"{remedy}; then run the same command again, the responses are kept",
        may_pass=isinstance(failure, APIConnectionError | InternalServerError),  # a timeout is one, too
    )
