"""What runs beside the requests: a loop that ends with what it belongs to; work that may be left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
_LOOK_S = 0.5


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``work`` while the block runs; cancel it then, and wait until it has ended."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Leavable(Executor):
    """A thread for each piece of work. The process ends without waiting for it, as it would for a pool's."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See ``Executor``."""
        done: Future[Any] = Future()

        def work() -> None:
            with suppress(InvalidStateError):  # nobody waits for it any more
                try:
                    done.set_result(fn(*args, **kwargs))
                except Exception as error:
                    done.set_exception(error)

        threading.Thread(target=work, name="leavable", daemon=True).start()
        return done


def left_when_over(work: Callable[[], T], go_on: Callable[[], None]) -> T:
    """What ``work`` returns or raises; where ``go_on``, asked meanwhile, raises, ``work`` is left behind.

    For a thread that waits for what cannot be broken off, as a download.
    """
    done: Future[T] = Leavable().submit(work)
    while True:
        try:
            return done.result(timeout=_LOOK_S)
        except TimeoutError:
            if done.done():  # just now, or the error is the work's own
                return done.result()
            go_on()
