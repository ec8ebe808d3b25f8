"""From a registered version to a loaded release that passed its smoke cases: model, engine, index."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serving.beside import left_when_over
from serving.engines import Engines, one_that_has_it
from serving.memory import engine_gib, merging_gib
from serving.merging import merge_apart
from serving.models import MachineError, Models
from serving.retrieval import BatchedRetrieval
from serving.router import Serving
from serving.search import IndexPlace, SearchProcess
from serving.settings import Reconcile
from serving.smoke import HungError, RefusalError, choose, require_smoke
from stepladder.engine import RunningEngine, dtype_of
from stepladder.errors import StepladderError
from stepladder.evaluation.records import RungOutcomes
from stepladder.failures import first_line
from stepladder.files import read_json, read_text, write_text
from stepladder.hardware import device
from stepladder.knowledge.manifest import read_manifest
from stepladder.promotion import Version
from stepladder.releases import (
    OUTCOMES,
    NotAsRegisteredError,
    Registered,
    Release,
    fetch_version,
    registered_name,
    require_contents,
    short,
)
from stepladder.settings import Knowledge
from stepladder.stages.finetune import merged_folder
from stepladder.stages.prune import keep_only
from stepladder.stages.workspace import Workspace
from stepladder.tasks import load_task

log = logging.getLogger("serving")


def gateway_id(path: Path) -> str:
    """What tells this gateway from others that use the same engines: drawn once, and kept over restarts."""
    if not path.is_file():
        write_text(path, secrets.token_hex(4))
    return read_text(path).strip()


class UnfetchedError(Exception):
    """A release could not be copied from where it lies: nobody's fault that the release could mend."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A loaded release. ``close`` and ``mend`` are for the thread that loaded it.

    ``close`` gives back what it holds; ``mend`` gives its model to replicas of the engine that lack it.
    """

    serving: Serving
    close: Callable[[], None]
    frees_gib: Callable[[], float] = lambda: 0.0
    mend: Callable[[], None] = lambda: None


class Loader:
    """Loads releases. All its methods but ``abort`` are for one thread that lives as long as it does.

    Args:
        workspace: the base model, merged models, copies of releases.
        settings: the section ``reconcile`` of ``serving.yaml``.
        searches: the process that indexes are asked in.
        engine_urls: servers, replicas of each other, that have every release's model loaded already.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: Reconcile,
        searches: SearchProcess,
        engine_urls: Sequence[str] = (),
    ) -> None:
        self._workspace = workspace
        self._settings = settings
        self._searches = searches
        self._has_all = bool(engine_urls)
        self._engine = workspace.settings.engine
        urls = engine_urls or settings.engines or [url for url in (self._engine.url,) if url]
        logs, gateway = workspace.scratch / "logs", gateway_id(workspace.scratch / "gateway.id")
        self._engines = Engines(self._engine, logs, lambda _: self._go_on(), urls, gateway)
        # Whether adapters join an engine that runs, rather than being merged. Known before the first request:
        # to look takes PyTorch, whose import would hold up requests.
        self._hot = device() == "cuda" if settings.adapters == "auto" else settings.adapters == "hot"
        self._attaches = bool(urls)
        self._models = Models(workspace.model_copies)
        self._aborted = threading.Event()

    def abort(self) -> None:
        """Let a load that is under way fail soon."""
        self._aborted.set()

    def tidy(self, digests: Collection[str]) -> None:
        """Remove what releases other than these left on the disk; where there is a build, climbs do it."""
        if (self._workspace.root / "build").is_dir():
            return
        try:
            keep_only(self._workspace, digests)
        except Exception as error:  # it only takes room
            log.warning("what old releases left is not removed: %s", first_line(error))

    def load(self, task: str, version: Version) -> Loaded:
        """Load a version and try its smoke cases; nothing of it stays when it fails.

        Raises:
            RefusalError: it is not what was registered, or fails its smoke cases.
            UnfetchedError: its files cannot be had now.
            MachineError: its base model or embedder is neither here nor in MLflow, or no Qdrant server is
                named that its index is on.
            NoRoomError: its engine does not fit beside those that run.
            StepladderError: its engine or index does not open.
        """
        self._go_on()
        registered = left_when_over(partial(self._fetched, task, version), self._go_on)
        with ExitStack() as stack:
            engine, model = self._engine_for(registered, stack)
            place = self._index(registered)
            try:
                self._require_smoke(registered, one_that_has_it(engine), place)
            except HungError as hung:
                hung.may_pass |= self._engines.give_up(engine)
                raise
            serving = Serving(
                registered=registered,
                task=load_task(registered.folder / "task", rows=False),
                engine=engine,
                retrieval=BatchedRetrieval(partial(self._searches.search, place)) if place else None,
            )
            close = stack.pop_all().close
            return Loaded(
                serving,
                close,
                lambda: self._engines.frees_gib(model),
                lambda: self._engines.mend(engine),
            )
        raise AssertionError  # an ExitStack hides nothing here

    def _go_on(self) -> None:
        if self._aborted.is_set():
            raise StepladderError("the gateway is ending")

    def _fetched(self, task: str, version: Version) -> Registered:
        """The release's files; a copy here that was damaged is fetched once more before that counts."""
        copy = self._workspace.releases / short(version.digest)
        try:
            try:
                found = self._whole(task, version)
            except NotAsRegisteredError:
                shutil.rmtree(copy, ignore_errors=True)
                found = self._whole(task, version)
        except NotAsRegisteredError as error:
            shutil.rmtree(copy, ignore_errors=True)
            raise RefusalError(error.what) from error
        except Exception as error:
            raise UnfetchedError(f"its files cannot be had: {error}") from error
        if found.release.task != task:
            raise RefusalError(f"it is a release of task {found.release.task!r}")
        return found

    def _whole(self, task: str, version: Version) -> Registered:
        found = fetch_version(
            registered_name(task), version.version, version.digest, self._workspace.releases
        )
        require_contents(found, version.files)
        return found

    def _engine_for(self, registered: Registered, stack: ExitStack) -> tuple[RunningEngine, str]:
        """The engine that answers, and the model that it was started with."""
        release = registered.release
        adapter = registered.folder / "adapter"
        merges = not (release.adapter_digest is None or self._has_all or self._hot)
        base = self._base(release, elsewhere=self._attaches and not merges)
        if release.adapter_digest is None or self._has_all:
            return stack.enter_context(self._engines.running(base, attach=True, adapters=self._hot)), base
        if self._hot:
            engine = stack.enter_context(self._engines.running(base, attach=True, adapters=True))
            name = short(release.adapter_digest)
            return stack.enter_context(self._engines.with_adapter(engine, name, adapter)), base
        merged = self._merged(base, adapter, release.adapter_digest)
        return stack.enter_context(self._engines.running(merged, attach=False)), merged

    def _base(self, release: Release, *, elsewhere: bool) -> str:
        find = self._models.base_elsewhere if elsewhere else self._models.base
        return left_when_over(partial(find, release), self._go_on)

    def _merged(self, base: str, adapter: Path, adapter_digest: str) -> str:
        """The base with the adapter merged into it; made once, if there is memory for that and its engine."""
        folder = merged_folder(self._workspace, adapter_digest)
        if not folder.is_dir():
            self._engines.require_room(max(merging_gib(base), engine_gib(base, self._engine)))
            merge_apart(base, adapter, folder, dtype_of(self._engine), self._go_on)
        return str(folder)

    def _index(self, registered: Registered) -> IndexPlace | None:
        release = registered.release
        if not release.plan.retrieval:
            return None
        folder = registered.folder / "index"
        manifest, store = read_manifest(folder), self._workspace.settings.knowledge.store
        if manifest.version != release.index_version:
            raise RefusalError("the index is not the version that it was made with")
        if manifest.collection and store == Knowledge().store:
            raise MachineError(
                "its index is on a Qdrant server, and none is named here: set knowledge.store or QDRANT_URL"
            )
        embedder = partial(self._models.embedder, release, manifest.embedder.digest)
        return IndexPlace(
            folder=folder,
            made=folder.stat().st_ctime_ns,
            knowledge=release.asked_at(store),
            embedder=left_when_over(embedder, self._go_on),
        )

    def _require_smoke(self, registered: Registered, engine: RunningEngine, place: IndexPlace | None) -> None:
        path = registered.folder / OUTCOMES
        outcomes = RungOutcomes.model_validate(read_json(path)) if path.is_file() else None
        require_smoke(
            load_task(registered.folder / "task", rows=False),
            registered.release.plan,
            engine,
            partial(self._searches.ask, place) if place else None,
            choose(outcomes, self._settings.smoke_cases) if outcomes else [],
            self._engine.request_timeout_s,
            self._go_on,
        )
