"""What may go well a little later, with nothing done about it."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.cache_policies import NO_CACHE

from stepladder.errors import StepladderError
from stepladder.failures import explained


def may_pass(error: BaseException) -> bool:
    """Whether to run the same again may help: a server was away, or had no time."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    if isinstance(error, httpx.TransportError):
        return True
    try:
        with explained():
            raise error
    except StepladderError as told:
        return told.may_pass
    except BaseException:
        return False


def task_may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """The same of a task run, as Prefect asks it (``retry_condition_fn``)."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)


# Options of a task that is run again where that may help, and whose result is never taken from a cache.
RUN_AGAIN: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": task_may_pass,
}
