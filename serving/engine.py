"""The engine as the gateway asks it: whole or streamed; closing the connection ends the engine's work."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from serving.errors import ApiError
from stepladder.engine import RunningEngine
from stepladder.failures import without_password

log = logging.getLogger("serving")

# Shorter than vLLM's (uvicorn's) 5 s: the side that keeps a connection longer writes into a closed one.
_KEEP_ALIVE_S = 4.0
_PROBE_S = 2.0
_NOT_FOUND = 404  # what vLLM says to a model that it has not loaded
_REST_S = 3.0
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)


class EngineClient:
    """Connections to the engines. Make it on the event loop, close it there."""

    def __init__(self) -> None:
        self._turns = itertools.count()
        self._resting: dict[tuple[str, str], float] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            # The exchange's own deadline ends a request.
            timeout=_TIMEOUT,
        )
        self._fresh = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=_TIMEOUT
        )

    async def complete(
        self, engine: RunningEngine, body: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """The engine's whole answer.

        Raises:
            ApiError: the engine is away, refuses the request or fails.
        """
        async with self._asking(engine, body, headers) as answer:
            return _object(await answer.read())

    async def stream(
        self, engine: RunningEngine, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[dict[str, Any]]:
        """The engine's answer, chunk by chunk.

        Raises:
            ApiError: the engine is away, refuses the request, fails, or ends before its answer does.
        """
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        async with self._asking(engine, asked, headers) as answer:
            async for line in answer.content:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                chunk = _object(data)
                if "error" in chunk:
                    raise _failed()
                yield chunk
        raise _failed()

    async def answers(self, engine: RunningEngine) -> bool:
        """Whether the engine, or a replica of it, answers at all."""
        return any(await asyncio.gather(*map(self._answers, engine.urls)))

    async def _answers(self, url: str) -> bool:
        try:
            async with asyncio.timeout(_PROBE_S), self._session.get(f"{url}/models") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._fresh.close()

    @asynccontextmanager
    async def _asking(
        self, engine: RunningEngine, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            answer = await self._post(engine, body, headers)
            async with answer:
                if answer.status != 200:
                    raise _refusal(answer.status, await answer.text(errors="replace"))
                yield answer
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                raise  # the deadline's
            log.warning("engine %s: %s", without_password(engine.url), type(error).__name__)
            raise ApiError(
                503, "engine_unavailable", "the engine of this task went away: ask again", retry_after_s=2
            ) from error

    async def _post(
        self, engine: RunningEngine, body: dict[str, Any], headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Ask the replica whose turn it is; the next one where it is away or lacks the model."""
        data = json.dumps(body, ensure_ascii=False).encode()
        sent = {**headers, "Content-Type": "application/json"}
        *first, last = self._in_turn(engine)
        for url in first:
            with suppress(aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
                answer = await self._post_to(url, data, sent)
                if answer.status != _NOT_FOUND:
                    return answer
                answer.release()
            self._resting[url, engine.model] = time.monotonic() + _REST_S
        return await self._post_to(last, data, sent)

    def _in_turn(self, engine: RunningEngine) -> list[str]:
        """The replicas, from the one whose turn it is; those that failed just now come last."""
        if not engine.replicas:
            return [engine.url]
        start = next(self._turns) % len(engine.urls)
        turned = [*engine.urls[start:], *engine.urls[:start]]
        now = time.monotonic()
        return sorted(turned, key=lambda url: self._resting.get((url, engine.model), now) > now)

    async def _post_to(self, to: str, data: bytes, sent: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Ask; a second time on a new connection where an idle one turned out to be closed."""
        url = f"{to}/chat/completions"
        try:
            return await self._session.post(url, data=data, headers=sent)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await self._fresh.post(url, data=data, headers=sent)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise _failed() from error
    if not isinstance(value, dict):
        raise _failed()
    return value


def _failed() -> ApiError:
    return ApiError(502, "engine_failed", "the engine of this task failed: ask again")


def _refusal(status: int, text: str) -> ApiError:
    """An engine's error as ours. Its words are not passed on: they may quote the request."""
    if status == 400 and ("context length" in text or "max_model_len" in text):
        return ApiError(
            400,
            "context_length_exceeded",
            "the conversation is longer than the model reads",
            param="messages",
        )
    if status == 400:
        return ApiError(400, "engine_refused", "the engine refused the request: check response_format")
    if status in (429, 503):
        return ApiError(429, "server_busy", "the engine is busy: ask again later", retry_after_s=1)
    if status == 404:
        return ApiError(503, "engine_unavailable", "the engine has not loaded this model", retry_after_s=2)
    return _failed()
