"""Whether a service of the stack is up."""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache

import httpx

from stepladder.stack.ports import Ports
from stepladder.stack.services import Service

_TIMEOUT_S = 3.0
_AT_ONCE_S = 5.0


def is_up(service: Service, ports: Ports, since: float) -> bool:
    """Whether a service answers, or, for a worker, was heard of.

    Args:
        service: which one.
        ports: of the stack.
        since: when it was started, seconds since the epoch. What Prefect heard before that was from a worker
            before it.
    """
    if not (service.port or service.pool):
        return time.time() - since > _AT_ONCE_S
    try:
        if service.pool:
            return _was_heard(prefect_api(ports), service.pool, since)
        return _client().get(address(service, ports) + service.health).is_success
    except httpx.HTTPError:
        return False


def address(service: Service, ports: Ports) -> str:
    """Where a server of the stack is reached."""
    return f"http://127.0.0.1:{ports[service.port]}"


def prefect_api(ports: Ports) -> str:
    """Prefect's API, as ``PREFECT_API_URL`` has it."""
    return f"http://127.0.0.1:{ports['prefect']}/api"


@lru_cache(maxsize=1)  # to make one costs more than to ask
def _client() -> httpx.Client:
    # Loopback: a proxy named by the environment has no part in it. What was kept open would hinder the end.
    return httpx.Client(timeout=_TIMEOUT_S, trust_env=False, headers={"Connection": "close"})


def _was_heard(api: str, pool: str, since: float) -> bool:
    answer = _client().post(f"{api}/work_pools/{pool}/workers/filter", json={})
    if not answer.is_success:  # the worker makes its pool when it starts
        return False
    return any(
        worker["status"] == "ONLINE"
        and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() >= since
        for worker in answer.json()
    )
