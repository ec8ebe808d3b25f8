"""Backpressure: so many requests of a release at once, so many waiting, and no more."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serving.errors import ApiError

_MEMORY = 0.9  # weight of the past in the mean service time
_LONGEST_WAIT_S = 60


class Gate:
    """A bounded queue before a bounded number of workers."""

    def __init__(self, in_flight: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(in_flight)
        self._in_flight = in_flight
        self._most_waiting = waiting
        self._service_s = 1.0
        self.waiting = 0
        self.working = 0

    def refusal(self) -> ApiError | None:
        """429 where too many wait already."""
        if not self._slots.locked() or self.waiting < self._most_waiting:
            return None
        return ApiError(
            429,
            "server_busy",
            "too many requests wait for this task's engine: ask again later",
            retry_after_s=self._expected_wait(),
        )

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for a slot, whatever the length of the queue, and hold it. Ask ``refusal`` first."""
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.working += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.working -= 1
            self._slots.release()
            took = time.monotonic() - started
            self._service_s = _MEMORY * self._service_s + (1 - _MEMORY) * took

    def _expected_wait(self) -> int:
        """Whole seconds until the queue, at the pace of late, is worked off."""
        wait = self._service_s * (self.waiting + 1) / self._in_flight
        return min(_LONGEST_WAIT_S, max(1, math.ceil(wait)))
