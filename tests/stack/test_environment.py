"""What services find in their environment, logs, and health."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.auth import read_keys
from stepladder.stack.database import Database
from stepladder.stack.environment import addresses, as_shell, environment
from stepladder.stack.gateway_key import gateway_key
from stepladder.stack.health import is_up
from stepladder.stack.place import Place
from stepladder.stack.services import SERVICES
from stepladder.stack.supervise import LogFiles
from tests.stack.project import ROOT
from tests.stack.saying import server_saying

PORTS = {"mlflow": 5001, "prefect": 4201, "gateway": 8081, "postgres": 5434}
DATABASE = Database("sqlite", "sqlite:///m.db", "sqlite+aiosqlite:///p.db")


def test_services_speak_to_this_stack_only_and_tell_nobody(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.state.mkdir(parents=True)
    found = environment(place, PORTS, DATABASE)
    assert found["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5001"
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:4201/api"
    assert found["STEPLADDER_GATEWAY_PORT"] == "8081"
    assert found["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert (found["DO_NOT_TRACK"], found["PREFECT_SERVER_ANALYTICS_ENABLED"]) == ("1", "false")
    for name in ("PREFECT_HOME", "PREFECT_LOCAL_STORAGE_PATH", "PREFECT_UI_STATIC_DIRECTORY"):
        assert Path(found[name]).is_relative_to(tmp_path / ".stepladder")


def test_the_key_of_the_watch_is_made_by_the_gateway_once_and_anew_where_it_was_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STEPLADDER_API_KEY", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    place = Place(tmp_path)
    place.state.mkdir(parents=True)
    assert gateway_key(place) is None
    (tmp_path / "serving.yaml").write_text("keys: kept/keys.json\n")
    first = gateway_key(place)
    assert first
    assert environment(place, PORTS, DATABASE)["STEPLADDER_API_KEY"] == first
    assert (place.state / "watch.key").stat().st_mode & 0o077 == 0
    (key,) = read_keys(tmp_path / "kept/keys.json")
    assert key.scopes == {"chat"}
    (tmp_path / "kept/keys.json").write_text("[]")
    assert gateway_key(place) not in {None, first}
    monkeypatch.setenv("STEPLADDER_API_KEY", "mine")
    assert gateway_key(place) == "mine"


def test_the_file_for_shells_holds_addresses_and_no_password(tmp_path: Path) -> None:
    text = as_shell(addresses(Place(tmp_path / "a b"), PORTS))
    done = subprocess.run(
        ["sh", "-c", f"{text} echo $PREFECT_HOME"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path}/a b/.stepladder/prefect\n"
    assert "postgres" not in text


def test_each_service_has_its_log(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.logs.mkdir(parents=True)
    files = LogFiles(place)
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    for name, data in (
        ("mlflow", b"one\ntwo \xff %s\n"),
        ("system", "mlflow started\n"),
        ("mlflow", b"three\n"),
    ):
        files.write(SimpleNamespace(name=name, data=data, time=now))
    assert place.log("mlflow").read_text() == "one\ntwo \ufffd %s\nthree\n"
    assert place.log("stack").read_text() == "2026-01-02 03:04:05 mlflow started\n"


@contextmanager
def prefect_that_heard(status: str, at: float) -> Iterator[dict[str, int]]:
    """The ports of a stack whose Prefect last heard from a worker at this second."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()
    with server_saying(json.dumps([{"status": status, "last_heartbeat_time": moment}])) as url:
        port = int(url.rpartition(":")[2])
        yield {"prefect": port, "mlflow": port}


def test_a_worker_is_up_once_it_was_heard_of_since_its_start() -> None:
    worker = SERVICES["worker-cpu"]
    with prefect_that_heard("ONLINE", 1000) as ports:
        assert is_up(worker, ports, since=999)
        assert not is_up(worker, ports, since=1001)
    with prefect_that_heard("OFFLINE", 1000) as ports:
        assert not is_up(worker, ports, since=0)


def test_what_cannot_be_asked_is_up_when_it_has_not_ended_at_once() -> None:
    assert is_up(SERVICES["inbox"], {}, since=time.time() - 60)
    assert not is_up(SERVICES["inbox"], {}, since=time.time())


def test_a_server_is_up_when_it_answers() -> None:
    with prefect_that_heard("ONLINE", 1000) as ports:
        assert is_up(SERVICES["mlflow"], ports, since=0)
    assert not is_up(SERVICES["mlflow"], ports, since=0)
