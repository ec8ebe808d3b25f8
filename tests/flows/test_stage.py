"""A stage on another worker is waited for as long as it may take, whether or not the server answers."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Running

from flows import stage


def test_a_server_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[State | Exception] = [Running(), httpx.ConnectError("away"), Completed()]

    def read_flow_run(_: object) -> SimpleNamespace:
        now = said.pop(0)
        if isinstance(now, Exception):
            raise now
        return SimpleNamespace(state=now)

    @contextmanager
    def client(*, sync_client: bool):  # noqa: ANN202
        assert sync_client
        yield SimpleNamespace(read_flow_run=read_flow_run)

    monkeypatch.setattr("prefect.client.orchestration.get_client", client)
    monkeypatch.setattr(stage, "_LOOK_EVERY_S", 0)
    state = stage._end_of(uuid4(), 60)
    assert state is not None
    assert state.is_completed()
    assert stage._end_of(uuid4(), 0) is None
