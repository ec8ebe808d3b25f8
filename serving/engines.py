"""The engines that run, by model; several releases share one, and adapters join one.

vLLM's CPU backend gathers LoRA weights for each token, which is slow: there the adapter is merged into a
copy of the base, which gets an engine of its own. On a GPU the adapter joins the engine of its base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import httpx

from serving.memory import engine_gib, free_gib
from stepladder.console import say
from stepladder.engine import RunningEngine, engine
from stepladder.errors import StepladderError
from stepladder.hardware import device
from stepladder.settings import Engine

T = TypeVar("T")
_PROBE_S = 10.0
_MOST_SILENT = 3
_LOAD_S = 120.0


class NoRoomError(Exception):
    """There is not the memory for one more engine."""

    def __init__(self, missing_gib: float) -> None:
        super().__init__(f"{missing_gib:.1f} GiB of memory are missing")
        self.missing_gib = missing_gib


@dataclass
class _Shared(Generic[T]):
    value: T
    stack: ExitStack
    users: int = 0


@dataclass
class Pool(Generic[T]):
    """Things that several have in common: opened for the first, closed after the last. For one thread."""

    shared: dict[str, _Shared[T]] = field(default_factory=dict)

    @contextmanager
    def lease(
        self, key: str, make: Callable[[], AbstractContextManager[T]], usable: Callable[[T], bool]
    ) -> Iterator[T]:
        """What has this key; one that is not usable any more is closed and made anew."""
        one = self.shared.get(key)
        if one and not usable(one.value):
            del self.shared[key]
            one.stack.close()  # twice does no harm: those that still lease it leave later
            one = None
        if one is None:
            stack = ExitStack()
            one = self.shared[key] = _Shared(stack.enter_context(make()), stack)
        one.users += 1
        try:
            yield one.value
        finally:
            one.users -= 1
            if not one.users:
                one.stack.close()
                if self.shared.get(key) is one:
                    del self.shared[key]

    def users(self, key: str) -> int:
        """How many lease it."""
        one = self.shared.get(key)
        return one.users if one else 0


class Engines:
    """Starts, shares and ends engines.

    Its methods are for one thread, which must live as long as the engines: Linux ends an engine with the
    thread that started it (``stepladder.engine``).

    Args:
        settings: how to start them; ``url`` names a server to use instead, for the base model.
        logs: folder for their logs.
        on_wait: called about once a second while one starts; what it raises ends the start.
    """

    def __init__(self, settings: Engine, logs: Path, on_wait: Callable[[float], None]) -> None:
        self._settings = settings
        self._logs = logs
        self._on_wait = on_wait
        self._engines: Pool[RunningEngine] = Pool()
        self._adapters: Pool[RunningEngine] = Pool()
        self._gib: dict[str, float] = {}

    @contextmanager
    def running(self, model: str, *, attach: bool, adapters: bool = False) -> Iterator[RunningEngine]:
        """An engine for a model.

        Args:
            model: a folder or hub id.
            attach: whether the configured server, if there is one, has this model.
            adapters: whether one that is started takes adapters later.

        Raises:
            NoRoomError: another engine runs, and memory is short of what this one needs.
            StepladderError: it does not start.
        """
        url = self._settings.url if attach else None
        settings = self._settings.model_copy(update={"url": url, "port": 0})

        def make() -> AbstractContextManager[RunningEngine]:
            if not url:
                self._gib[model] = engine_gib(model, self._settings)
                self._require_room(self._gib[model])
            say(f"engine: {url or f'starting vLLM for {model} (about a minute on a CPU)'}")
            return engine(model, settings, self._logs, self._on_wait, adapters=adapters)

        with self._engines.lease(model, make, _usable) as found:
            yield found

    @contextmanager
    def with_adapter(self, base: RunningEngine, name: str, adapter: Path) -> Iterator[RunningEngine]:
        """The engine of a base with an adapter loaded into it (vLLM's ``/v1/load_lora_adapter``).

        The engine must see the adapter's folder by the same path.

        Raises:
            StepladderError: the engine refuses it.
        """
        key = f"{base.url} {name}"
        with self._adapters.lease(key, lambda: _hot_loaded(base, name, adapter), _usable) as found:
            yield found

    def frees_gib(self, model: str) -> float:
        """Memory that comes back when one release of this model is unloaded; 0 where another has it too.

        May be asked from any thread.
        """
        return self._gib.get(model, 0.0) if self._engines.users(model) == 1 else 0.0

    def _require_room(self, needs: float) -> None:
        """The first engine is tried whatever the estimate says."""
        if not self._engines.shared:
            return
        # On a GPU an engine takes what there is: a second one has no room beside it.
        missing = needs if device() == "cuda" else needs - free_gib()
        if missing > 0:
            raise NoRoomError(missing)


def _usable(running: RunningEngine) -> bool:
    """Whether it need not be replaced. Silence alone is no reason: under load an engine answers late."""
    ours = running.log is not None
    if ours and not running.alive():  # a look at the process
        return False
    for _ in range(1 if ours else _MOST_SILENT):
        if (names := models_of(running.url)) is not None:
            return running.model in names
    return ours


def models_of(url: str) -> list[str] | None:
    """The names of the models that a server has loaded; None where it does not answer."""
    with suppress(httpx.HTTPError, KeyError, ValueError):
        answer = httpx.get(f"{url}/models", timeout=_PROBE_S).raise_for_status()
        return [str(one["id"]) for one in answer.json()["data"]]
    return None


def is_away(error: Exception) -> bool:
    """Whether it says that a server, or what stands before it, is down or too busy."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 502, 503, 504)
    return isinstance(error, httpx.TransportError)


@contextmanager
def _hot_loaded(base: RunningEngine, name: str, adapter: Path) -> Iterator[RunningEngine]:
    ours = name not in (models_of(base.url) or [])
    if ours:  # it may be there from before this gateway, or be another's
        _post(base, "load_lora_adapter", {"lora_name": name, "lora_path": str(adapter.resolve())})
    try:
        yield RunningEngine(base.url, name, base.log, base.alive)
    finally:
        if ours:
            with suppress(StepladderError):  # an engine that went away has forgotten it
                _post(base, "unload_lora_adapter", {"lora_name": name})


def _post(base: RunningEngine, path: str, body: dict[str, str]) -> None:
    try:
        httpx.post(f"{base.url}/{path}", json=body, timeout=_LOAD_S).raise_for_status()
    except httpx.HTTPError as error:
        raise StepladderError(
            f"the engine did not do {path}: {error}",
            where=base.url,
            remedy="a vLLM that takes adapters is started with --enable-lora and"
            " VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; its log tells more",
            may_pass=is_away(error),
        ) from error
