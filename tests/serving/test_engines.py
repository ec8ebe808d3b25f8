"""Engines are shared, replaced when dead, and not started without memory; adapters join one that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving import engines as module
from serving.engines import Engines, NoRoomError, Pool, one_that_has_it
from serving.memory import engine_gib, free_gib, merging_gib
from serving.plan import Actual, Held, Load, Stop, plan
from serving.settings import Reconcile
from serving.troubles import Troubles
from stepladder.engine import RunningEngine
from stepladder.errors import StepladderError
from stepladder.promotion import Standing, Version
from stepladder.settings import Engine
from tests.stub_server import _Handler, stub_server

GIB = 2**30
SAYS = "x"


class Opened:
    """Counts what is open; each has a number, and lives until it is said to be dead."""

    def __init__(self) -> None:
        self.made = 0
        self.open: set[int] = set()
        self.dead: set[int] = set()

    @contextmanager
    def make(self) -> Iterator[int]:
        self.made += 1
        number = self.made
        self.open.add(number)
        try:
            yield number
        finally:
            self.open.discard(number)

    def usable(self, number: int) -> bool:
        return number not in self.dead


def test_a_pool_opens_once_and_closes_after_the_last() -> None:
    opened, pool = Opened(), Pool[int]()
    with pool.lease("a", opened.make, opened.usable) as one:
        with pool.lease("a", opened.make, opened.usable) as two:
            assert one == two
            assert pool.users("a") == 2
        assert opened.open == {1}
    assert (opened.open, pool.users("a")) == (set(), 0)


def test_what_died_is_closed_and_made_anew_while_others_still_lease_it() -> None:
    opened, pool = Opened(), Pool[int]()
    with pool.lease("a", opened.make, opened.usable):
        opened.dead.add(1)
        with pool.lease("a", opened.make, opened.usable) as new:
            assert new == 2
            assert opened.open == {2}
    assert opened.open == set()


def test_a_second_engine_is_not_started_without_memory_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    @contextmanager
    def fake(model: str, *_: Any, **__: Any) -> Iterator[RunningEngine]:
        started.append(model)
        yield RunningEngine("http://127.0.0.1:9/v1", "stepladder")

    monkeypatch.setattr(module, "engine", fake)
    monkeypatch.setattr(module, "free_gib", lambda: 1.0)
    engines = Engines(Engine(dtype="bfloat16"), tmp_path, lambda _: None)
    with engines.running("a", attach=False):  # the first is tried whatever the estimate says
        assert engines.frees_gib("a") == 3.5
        with pytest.raises(NoRoomError) as caught, engines.running("b", attach=False):
            pass
        assert caught.value.missing_gib == 2.5
        monkeypatch.setattr(module, "free_gib", lambda: 4.0)
        with engines.running("b", attach=False):
            pass
    assert started == ["a", "b"]


def test_on_a_gpu_one_engine_gives_way_to_a_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def fake(*_: Any, **__: Any) -> Iterator[RunningEngine]:
        yield RunningEngine("http://127.0.0.1:9/v1", "stepladder", Path("log"))

    needs = {"small": 4.0, "large": 40.0}
    monkeypatch.setattr(module, "engine", fake)
    monkeypatch.setattr(module, "device", lambda: "cuda")
    monkeypatch.setattr(module, "engine_gib", lambda model, _: needs[model])
    monkeypatch.setattr(module, "free_gib", lambda: 100.0)  # of the machine: not what an engine needs
    engines = Engines(Engine(), tmp_path, lambda _: None)
    versions = {number: Version(version=number, digest=number, rung="prompt") for number in "12"}
    wanted = Standing(champion="2", previous="1", versions=versions)
    with engines.running("small", attach=False):
        with pytest.raises(NoRoomError) as caught, engines.running("large", attach=False):
            pass
        held = Held(1, "1", frees_gib=engines.frees_gib("small"))
        steps = plan(wanted, Actual(1, (held,), cramped={"2": caught.value.missing_gib}))
        assert [type(step) for step in steps] == [Stop]
    assert plan(wanted, Actual()) == [Load(versions["2"])]
    with engines.running("large", attach=False):
        assert engines.frees_gib("large") > needs["large"]


@pytest.mark.parametrize("cached", ["weights", "configuration", None])
def test_the_weights_of_a_hub_id_are_those_in_its_cache_or_those_that_the_hub_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: str | None
) -> None:
    import huggingface_hub

    def snapshot(*_: Any, **__: Any) -> str:
        if not cached:
            raise FileNotFoundError
        if cached == "weights":
            (tmp_path / "model.safetensors").write_bytes(b"0" * (GIB // 2**10))  # no header: what is stored
        return str(tmp_path)

    told = SimpleNamespace(parameter_count={"BF16": GIB // 2**11})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", lambda _: told)
    settings = Engine(dtype="bfloat16", kv_cache_gib=2)
    assert engine_gib("some/model", settings) == pytest.approx(4.5 + 1 / 2**10)


def test_memory_is_estimated_from_weights_and_read_from_machine_and_container(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    small, large = Engine(dtype="bfloat16", kv_cache_gib=2), Engine(dtype="float32", kv_cache_gib=2)
    for stored, kind in ((torch.bfloat16, "bf16"), (torch.float32, "f32")):
        folder = tmp_path / kind
        folder.mkdir()
        save_file({"w": torch.zeros(GIB // 2**12, dtype=stored)}, folder / "model.safetensors")
        assert engine_gib(str(folder), small) == pytest.approx(4.5 + 2 / 2**12)
        assert engine_gib(str(folder), large) == pytest.approx(4.5 + 4 / 2**12), "whatever is stored"
        assert merging_gib(str(folder)) == pytest.approx(1 + 4 / 2**12)
    quantised = tmp_path / "int8"
    quantised.mkdir()
    save_file({"w": torch.zeros(GIB // 2**12, dtype=torch.int8)}, quantised / "model.safetensors")
    assert engine_gib(str(quantised), large) == pytest.approx(4.5 + 1 / 2**12)

    meminfo, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text(f"MemTotal: 9 kB\nMemAvailable: {8 * 1024**2} kB\n")
    assert free_gib(meminfo, cgroup) == 8.0
    cgroup.mkdir()
    (cgroup / "memory.current").write_text(f"{3 * GIB}\n")
    (cgroup / "memory.max").write_text("max\n")
    assert free_gib(meminfo, cgroup) == 8.0, "no limit"
    (cgroup / "memory.max").write_text(f"{4 * GIB}\n")
    (cgroup / "memory.stat").write_text(f"anon 1\ninactive_file {GIB}\n")
    assert free_gib(meminfo, cgroup) == 2.0


class _TakesAdapters(_Handler):
    """vLLM's runtime adapters: a name may be loaded once, and is then a model among others."""

    server: Any

    def do_GET(self) -> None:  # noqa: N802
        names = ["base", *self.server.adapters]
        self._reply(200, {"data": [{"id": name} for name in names]})

    def do_POST(self) -> None:  # noqa: N802
        import json

        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        adapters = self.server.adapters
        if self.path == "/v1/load_lora_adapter" and body["lora_name"] not in adapters:
            adapters[body["lora_name"]] = body["lora_path"]
        elif self.path == "/v1/unload_lora_adapter" and body["lora_name"] in adapters:
            del adapters[body["lora_name"]]
        elif body.get("model") in adapters:
            self.server.seen.append(body)
            self._reply(200, {"choices": [{"message": {"content": SAYS}}]})
            return
        else:
            self._reply(400, {"error": {"message": "refused"}})
            return
        self._reply(200, {})


@contextmanager
def takes_adapters() -> Iterator[Any]:
    with stub_server(lambda _: "x") as server:
        server.RequestHandlerClass = _TakesAdapters
        server.adapters = {}  # type: ignore[attr-defined]
        yield server


@pytest.fixture
def vllm() -> Iterator[Any]:
    with takes_adapters() as server:
        yield server


def test_an_adapter_joins_the_engine_of_its_base_and_leaves_it_with_its_last_release(
    vllm: Any, tmp_path: Path
) -> None:
    engines = Engines(Engine(), tmp_path, lambda _: None, [vllm.url])
    with engines.running("any", attach=True) as base:
        with engines.with_adapter(base, "1", tmp_path) as tuned:
            assert (tuned.url, tuned.model) == (vllm.url, "adapter-1-one")
            assert vllm.adapters == {"adapter-1-one": str(tmp_path)}
            with engines.with_adapter(base, "1", tmp_path):
                pass
            assert vllm.adapters, "another release still has it"
        assert vllm.adapters == {}


def test_an_engine_that_forgot_an_adapter_gets_it_again(vllm: Any, tmp_path: Path) -> None:
    engines = Engines(Engine(), tmp_path, lambda _: None, [vllm.url])
    with engines.running("any", attach=True) as base, engines.with_adapter(base, "1", tmp_path):
        vllm.adapters.clear()  # it restarted
        with engines.with_adapter(base, "1", tmp_path):
            assert list(vllm.adapters) == ["adapter-1-one"]


def test_an_adapter_is_loaded_into_all_replicas_and_again_into_one_that_restarted(
    vllm: Any, tmp_path: Path
) -> None:
    with takes_adapters() as other:
        engines = Engines(Engine(), tmp_path, lambda _: None, [vllm.url, other.url])
        with engines.running("any", attach=True) as base:
            with engines.with_adapter(base, "1", tmp_path) as tuned:
                assert tuned.urls == (vllm.url, other.url)
                assert list(vllm.adapters) == list(other.adapters) == ["adapter-1-one"]
                other.adapters.clear()
                assert one_that_has_it(tuned).urls == (vllm.url,)
                engines.mend(tuned)
                assert list(other.adapters) == ["adapter-1-one"]
            assert vllm.adapters == other.adapters == {}


def test_a_replica_that_is_away_does_not_keep_a_release_from_answering(vllm: Any, tmp_path: Path) -> None:
    urls = ["http://127.0.0.1:9", vllm.url]
    engines = Engines(Engine(), tmp_path, lambda _: None, urls)
    with engines.running("any", attach=True) as base, engines.with_adapter(base, "1", tmp_path) as tuned:
        assert tuned.urls == (vllm.url, "http://127.0.0.1:9/v1")
        assert list(vllm.adapters) == ["adapter-1-one"]


@pytest.mark.parametrize(
    ("log", "alive", "names", "usable"),
    [
        ("log", True, None, False),  # it hangs
        ("log", True, ["m"], True),
        ("log", True, ["other"], False),
        ("log", False, ["m"], False),
        (None, True, ["m"], True),
        (None, True, None, False),
    ],
)
def test_an_engine_is_replaced_when_it_is_dead_and_not_when_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, log: str | None, alive: bool, names: list[str] | None, usable: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "models_of", lambda url: asked.append(url) or names)
    running = RunningEngine("http://e/v1", "m", Path(log) if log else None, lambda: alive)
    assert module._usable(running) is usable
    assert len(asked) == (0 if not alive else 3 if names is None else 1)


def test_an_engine_that_answers_one_look_of_three_is_only_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, None, ["m"]])
    monkeypatch.setattr(module, "models_of", lambda _: next(answers))
    assert module._usable(RunningEngine("http://e/v1", "m", Path("log")))


def test_an_engine_that_was_given_up_is_closed_and_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[int] = []

    @contextmanager
    def fake(model: str, *_: Any, **__: Any) -> Iterator[RunningEngine]:
        number = len(running)
        running.append(number)
        yield RunningEngine(f"http://{number}/v1", "stepladder", Path("log"))
        running[number] = -1

    monkeypatch.setattr(module, "engine", fake)
    monkeypatch.setattr(module, "models_of", lambda _: ["stepladder"])
    engines = Engines(Engine(dtype="bfloat16"), tmp_path, lambda _: None)
    with engines.running("a", attach=False) as first:
        assert engines.give_up(first) is False, "nobody else has it"
        with engines.running("a", attach=False) as second:
            assert running == [-1, 1]
            with engines.running("a", attach=False) as third:
                assert third == second
                assert engines.give_up(third) is True
    assert running == [-1, -1]


def test_a_gateway_that_ends_leaves_another_its_adapter(vllm: Any, tmp_path: Path) -> None:
    one, other = (Engines(Engine(), tmp_path, lambda _: None, [vllm.url], name) for name in "ab")
    with other.running("any", attach=True) as base, other.with_adapter(base, "1", tmp_path) as kept:
        with one.running("any", attach=True) as same, one.with_adapter(same, "1", tmp_path):
            assert len(vllm.adapters) == 2
        assert list(vllm.adapters) == [kept.model]


def test_what_a_killed_gateway_left_in_an_engine_is_unloaded_when_it_is_back(
    vllm: Any, tmp_path: Path
) -> None:
    vllm.adapters |= {"adapter-1-a": "there", "adapter-1-b": "there", "by-hand-a": "there"}
    engines = Engines(Engine(), tmp_path, lambda _: None, [vllm.url], "a")
    with engines.running("any", attach=True) as base:
        assert list(vllm.adapters) == ["adapter-1-b", "by-hand-a"]
        with engines.with_adapter(base, "1", tmp_path), engines.running("other", attach=True):
            assert "adapter-1-a" in vllm.adapters, "what is held is no leftover"


def test_an_engine_that_takes_no_adapters_says_what_to_do(tmp_path: Path) -> None:
    with stub_server(lambda _: 404) as server:
        engines = Engines(Engine(), tmp_path, lambda _: None, [server.url])
        base = RunningEngine(server.url, "stub")
        with (
            pytest.raises(StepladderError, match="load_lora_adapter") as caught,
            engines.with_adapter(base, "1", tmp_path),
        ):
            pass
    assert caught.value.may_pass, "so it was started: no fault of the release"
    version = Version(version="1", digest="1", rung="lora")
    troubles = Troubles(Reconcile(attempts=1))
    assert troubles.add(version, caught.value) is None
