"""The engines that run, by model; several releases share one, and adapters join one.

vLLM's CPU backend gathers LoRA weights for each token, which is slow: there the adapter is merged into a
copy of the base, which gets an engine of its own. On a GPU the adapter joins the engine of its base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Generic, TypeVar

import httpx

from serving.memory import engine_gib, free_gib
from stepladder.console import say
from stepladder.engine import RunningEngine, address, engine
from stepladder.errors import StepladderError
from stepladder.failures import without_password
from stepladder.hardware import device
from stepladder.settings import Engine

T = TypeVar("T")
_PROBE_S = 10.0
# An engine under load may be slow to answer; one that is silent this often is not coming back.
MOST_SILENT = 3
_LOAD_S = 120.0
_NOT_FOUND = 404
_ADAPTER = "adapter-"


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
        settings: how to start them.
        logs: folder for their logs.
        on_wait: called about once a second while one starts; what it raises ends the start.
        urls: servers to use instead for the base model, replicas of each other.
        gateway: what adapters are named after, unlike any other gateway's that uses the same servers.
    """

    def __init__(
        self,
        settings: Engine,
        logs: Path,
        on_wait: Callable[[float], None],
        urls: Sequence[str] = (),
        gateway: str = "one",
    ) -> None:
        self._settings = settings
        self._urls = tuple(map(address, urls))
        self._gateway = gateway
        self._logs = logs
        self._on_wait = on_wait
        self._engines: Pool[RunningEngine] = Pool()
        self._adapters: Pool[_Adapter] = Pool()
        self._gib: dict[str, float] = {}
        self._hung: set[RunningEngine] = set()

    @contextmanager
    def running(self, model: str, *, attach: bool, adapters: bool = False) -> Iterator[RunningEngine]:
        """An engine for a model.

        Args:
            model: a folder or hub id.
            attach: whether the configured servers, if there are any, have this model.
            adapters: whether one that is started takes adapters later.

        Raises:
            NoRoomError: another engine runs, and memory is short of what this one needs.
            StepladderError: it does not start; of servers, none answers.
        """
        settings = self._settings.model_copy(update={"url": None, "port": 0})

        def make() -> AbstractContextManager[RunningEngine]:
            if attach and self._urls:
                say(f"engine: {', '.join(map(without_password, self._urls))}")
                return self._attached(model)
            self._gib[model] = engine_gib(model, self._settings)
            self.require_room(self._gib[model])
            say(f"engine: starting vLLM for {model} (about a minute on a CPU)")
            return engine(model, settings, self._logs, self._on_wait, adapters=adapters, beside_others=True)

        def usable(one: RunningEngine) -> bool:
            return one not in self._hung and _usable(one)

        with self._engines.lease(model, make, usable) as found:
            yield found

    def give_up(self, running: RunningEngine) -> bool:
        """Have an engine that was started here, and hangs, closed and started anew when it is wanted next.

        Returns:
            Whether other releases have it too, so that it says nothing about any one of them.
        """
        for one in self._engines.shared.values():
            if one.value.url == running.url and running.log is not None:
                self._hung.add(one.value)
                return one.users > 1
        return False

    @contextmanager
    def _attached(self, model: str) -> Iterator[RunningEngine]:
        """The replicas; one that is away now gets requests when it is back."""
        with ExitStack() as stack:
            one = self._first_that_answers(model, stack)
            self._unload_leftovers()
            yield replace(one, replicas=tuple(url for url in self._urls if url != one.url))

    def _unload_leftovers(self) -> None:
        """Take adapters out of the replicas that this gateway left there when it was killed."""
        held = {one.value.running.model for one in self._adapters.shared.values()}
        for url in self._urls:
            for name in models_of(url) or []:
                if name.startswith(_ADAPTER) and name.endswith(f"-{self._gateway}") and name not in held:
                    _unload(url, name)

    def _first_that_answers(self, model: str, stack: ExitStack) -> RunningEngine:
        *first, last = (self._settings.model_copy(update={"url": url}) for url in self._urls)
        for settings in first:
            with suppress(StepladderError):
                return stack.enter_context(engine(model, settings, self._logs))
        return stack.enter_context(engine(model, last, self._logs))

    @contextmanager
    def with_adapter(self, base: RunningEngine, name: str, adapter: Path) -> Iterator[RunningEngine]:
        """The engine of a base with an adapter loaded into it (vLLM's ``/v1/load_lora_adapter``).

        Each replica must see the adapter's folder by the same path. The adapter is this gateway's alone, by
        its name there: another that has it too would miss it once this one needs it no more, or ends.

        Raises:
            StepladderError: the engine refuses it.
        """
        named = f"{_ADAPTER}{name}-{self._gateway}"
        key = f"{' '.join(sorted(base.urls))} {named}"
        adapted = _Adapter(replace(base, model=named), adapter)
        with self._adapters.lease(key, adapted.loaded, lambda one: _usable(one.running)) as found:
            yield found.running

    def mend(self, running: RunningEngine) -> None:
        """Load an adapter into the replicas that lack it, as one that was started again.

        Raises:
            StepladderError: one refuses it.
        """
        for one in self._adapters.shared.values():
            if one.value.running == running:
                one.value.load()

    def frees_gib(self, model: str) -> float:
        """Memory that comes back when one release of this model is unloaded; 0 where another has it too.

        On a GPU an engine takes what there is, so that all of it comes back, enough for a larger one. May be
        asked from any thread.
        """
        if model not in self._gib or self._engines.users(model) != 1:
            return 0.0
        return inf if device() == "cuda" else self._gib[model]

    def require_room(self, needs: float) -> None:
        """Check that there is memory for so many GiB. The first engine is tried whatever the estimate says.

        Raises:
            NoRoomError: there is not.
        """
        if not self._engines.shared:
            return
        # On a GPU an engine takes what there is: a second one has no room beside it.
        missing = needs if device() == "cuda" else needs - free_gib()
        if missing > 0:
            raise NoRoomError(missing)


def _usable(running: RunningEngine) -> bool:
    """Whether it need not be replaced, by the rule of ``serving.probe``: silence is borne for some looks."""
    if running.log is not None and not running.alive():  # ours: a look at the process
        return False
    for _ in range(MOST_SILENT):
        answers = [names for names in map(models_of, running.urls) if names is not None]
        if any(running.model in names for names in answers):
            return True
        if len(answers) == len(running.urls):
            return False
    return False


def one_that_has_it(running: RunningEngine) -> RunningEngine:
    """The replica to ask where one is enough; any, where none is known to have the model."""
    having = (url for url in running.urls if running.model in (models_of(url) or []))
    return replace(running, url=next(having, running.url), replicas=())


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


@dataclass
class _Adapter:
    """An adapter in all replicas of an engine. ``having``: those that had it once."""

    running: RunningEngine
    folder: Path
    having: set[str] = field(default_factory=set)

    @contextmanager
    def loaded(self) -> Iterator[_Adapter]:
        """Load it, and unload it in the end."""
        try:
            if not self.load():
                raise StepladderError("the engine does not answer", where=self.running.url, may_pass=True)
            yield self
        finally:
            for url in self.having:
                _unload(url, self.running.model)

    def load(self) -> int:
        """Load it into the replicas that answer and lack it; how many have it then."""
        having = 0
        for url in self.running.urls:
            names = models_of(url)
            if names is None:
                continue
            if self.running.model not in names:
                path = str(self.folder.resolve())
                _post(url, "load_lora_adapter", {"lora_name": self.running.model, "lora_path": path})
            self.having.add(url)
            having += 1
        return having


def _unload(url: str, name: str) -> None:
    with suppress(StepladderError):  # an engine that went away has forgotten it
        _post(url, "unload_lora_adapter", {"lora_name": name})


def _post(url: str, path: str, body: dict[str, str]) -> None:
    try:
        httpx.post(f"{url}/{path}", json=body, timeout=_LOAD_S).raise_for_status()
    except httpx.HTTPError as error:
        # So vLLM answers where it takes no adapters, and where it does not see the folder: how it was
        # started, which says nothing about the release.
        is_lacking = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == _NOT_FOUND
        raise StepladderError(
            f"the engine did not do {path}: {error}",
            where=url,
            remedy="a vLLM that takes adapters is started with --enable-lora and"
            " VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and sees their folder by the same path; see its log",
            may_pass=is_lacking or is_away(error),
        ) from error
