"""What goes wrong around an engine is said in one sentence, and nothing is left running."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stepladder import engine as module
from stepladder.engine import engine, tail
from stepladder.errors import StepladderError
from stepladder.settings import Engine
from tests.stub_server import stub_server


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


def use_python(monkeypatch: pytest.MonkeyPatch, executable: str) -> None:
    """Start engines by it; whatever is imported meanwhile (multiprocessing, say) still sees the real one."""
    seen = SimpleNamespace(executable=executable, platform=sys.platform)
    monkeypatch.setattr(module, "sys", seen)


def test_attaching_uses_the_servers_first_model(tmp_path: Path) -> None:
    with stub_server(lambda _: "x") as server, engine("any", Engine(url=server.url), tmp_path) as running:
        assert (running.url, running.model) == (server.url, "stub")
        assert running.alive()
    assert not running.alive()


def test_attaching_to_nothing_says_so(tmp_path: Path) -> None:
    settings = Engine(url="http://127.0.0.1:9")
    with (
        pytest.raises(StepladderError, match="no OpenAI-compatible server"),
        engine("any", settings, tmp_path),
    ):
        pass


@pytest.mark.parametrize("answers", [True, False])
def test_what_is_said_of_a_server_that_does_not_serve_has_no_password(tmp_path: Path, answers: bool) -> None:
    with stub_server(lambda _: "x") as server:
        place = f"127.0.0.1:{server.server_port}/nothing" if answers else "127.0.0.1:9"
        server.lost.append("/nothing/v1/models")
        with (
            pytest.raises(StepladderError, match="no OpenAI-compatible server") as caught,
            engine("any", Engine(url=f"http://ann:secret@{place}"), tmp_path),
        ):
            pass
    assert caught.value.where == f"http://{place}"
    assert "secret" not in str(caught.value)


def test_a_model_path_that_is_not_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with (
        pytest.raises(StepladderError, match="no base model here") as caught,
        engine(missing, Engine(), tmp_path),
    ):
        pass
    assert "stepladder setup" in caught.value.remedy


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path, model: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(StepladderError, match=f"port {port} is in use"),
            engine(model, Engine(port=port), tmp_path),
        ):
            pass


def test_an_engine_that_ends_at_once_shows_its_error(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_python(monkeypatch, "/bin/false")
    with (
        pytest.raises(StepladderError, match="ended with exit code 1"),
        engine(model, Engine(dtype="float32"), tmp_path),
    ):
        pass


def test_each_start_has_a_log_of_its_own_though_ports_come_again(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_python(monkeypatch, "/bin/false")
    monkeypatch.setattr(module, "_take_port", lambda _: 4711)
    for _ in range(2):
        with pytest.raises(StepladderError), engine(model, Engine(dtype="float32"), tmp_path / "logs"):
            pass
    names = sorted(log.name for log in (tmp_path / "logs").iterdir())
    assert names == ["engine-model-1.log", "engine-model-2.log"]


@pytest.mark.parametrize(("beside_others", "bound"), [(False, True), (True, False)])
def test_threads_are_bound_to_the_cores_only_of_an_engine_that_has_them_to_itself(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, beside_others: bool, bound: bool
) -> None:
    script = tmp_path / "teller"
    script.write_text("#!/bin/sh\necho Error: $VLLM_CPU_OMP_THREADS_BIND of $OMP_NUM_THREADS >&2\nexit 1\n")
    script.chmod(0o755)
    use_python(monkeypatch, str(script))
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0, 3})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    settings = Engine(dtype="float32")
    told = "Error: 0,3 of\n?" if bound else "Error: nobind of 2"
    with (
        pytest.raises(StepladderError, match=told),
        engine(model, settings, tmp_path, beside_others=beside_others),
    ):
        pass


def test_an_engine_that_is_not_ready_in_time_is_ended(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "sleeper"
    script.write_text("#!/bin/sh\necho $$ > " + str(tmp_path / "pid") + "\nexec sleep 60\n")
    script.chmod(0o755)
    use_python(monkeypatch, str(script))
    settings = Engine(dtype="float32", start_timeout_s=1)
    with pytest.raises(StepladderError, match="not ready within 1 s"), engine(model, settings, tmp_path):
        pass
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_the_tail_prefers_lines_that_name_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("start\nValueError: too long\n" + "noise\n" * 50)
    assert tail(log) == "    ValueError: too long"
