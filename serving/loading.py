"""From the registry to the router: fetch releases, open their indexes, attach to or start their engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from serving.retrieval import BatchedRetrieval
from serving.router import Lineup, Router, Serving
from serving.search import IndexPlace, SearchProcess
from stepladder.console import say
from stepladder.engine import RunningEngine, engine
from stepladder.errors import StepladderError
from stepladder.knowledge.manifest import read_manifest
from stepladder.models import model_digest, require_base
from stepladder.releases import CHALLENGER, CHAMPION, Registered, use_mlflow, with_alias
from stepladder.stages.finetune import merged_model
from stepladder.stages.workspace import Workspace
from stepladder.tasks import load_task


@contextmanager
def loaded_router(
    workspace: Workspace, *, challengers: bool = False, engine_url: str | None = None
) -> Iterator[Router]:
    """A router over the releases that are promoted now; their engines and indexes live as long as the block.

    Args:
        challengers: whether a task without a champion is answered by its challenger.
        engine_url: a server that has every release's model loaded already; None starts vLLM as needed.

    Raises:
        StepladderError: no task has such a release, or one cannot be loaded.
    """
    use_mlflow(workspace.settings.mlflow)
    with ExitStack() as stack:
        loader = _Loader(workspace, engine_url, stack)
        lineups = {name: _lineup(loader, name, challengers) for name in workspace.settings.tasks}
        if not any(lineup.champion for lineup in lineups.values()):
            raise StepladderError(
                "no task has a champion",
                where=workspace.settings.mlflow.tracking_uri,
                remedy=f"give a release the alias {CHAMPION} in MLflow, or serve challengers: --challengers",
            )
        yield Router(lineups)


def _lineup(loader: _Loader, name: str, challengers: bool) -> Lineup:
    scratch = loader.workspace.scratch / "releases"
    found = {alias: with_alias(name, alias, scratch) for alias in (CHAMPION, CHALLENGER)}
    if found[CHAMPION] is None and challengers:
        found[CHAMPION] = found[CHALLENGER]
    champion = found[CHAMPION]
    if champion is None:
        say(f"{name}: no champion, not served")
        return Lineup({})
    say(f"{name}: version {champion.version} ({champion.release.plan.rung})")
    return Lineup({CHAMPION: loader.load(champion)})


class _Loader:
    """Loads releases; engines that several have in common are loaded once."""

    def __init__(self, workspace: Workspace, engine_url: str | None, stack: ExitStack) -> None:
        self.workspace = workspace
        self._engine_url = engine_url
        self._stack = stack
        self._engines: dict[str, RunningEngine] = {}
        self._process = stack.enter_context(closing(SearchProcess()))

    def load(self, registered: Registered) -> Serving:
        return Serving(
            registered=registered,
            task=load_task(registered.folder / "task", rows=False),
            engine=self._engine(registered),
            retrieval=self._retrieval(registered),
        )

    def _engine(self, registered: Registered) -> RunningEngine:
        release = registered.release
        base = require_base(release.base)
        if model_digest(base) != release.base_digest:
            raise StepladderError(
                "the base model is not the one that the release was made with",
                where=base,
                remedy="put that model back, or promote a release of the model that is there",
            )
        settings = self.workspace.settings.engine
        model = base
        if self._engine_url:
            settings = settings.model_copy(update={"url": self._engine_url})
        elif release.adapter_digest:
            settings = settings.model_copy(update={"url": None})
            adapter = registered.folder / "adapter"
            model = str(merged_model(self.workspace, base, adapter, release.adapter_digest))
        if model not in self._engines:
            say(f"engine: {settings.url or f'starting vLLM for {model} (about a minute on a CPU)'}")
            self._engines[model] = self._stack.enter_context(
                engine(model, settings, self.workspace.scratch / "logs")
            )
        return self._engines[model]

    def _retrieval(self, registered: Registered) -> BatchedRetrieval | None:
        release = registered.release
        if not release.plan.retrieval:
            return None
        folder = registered.folder / "index"
        if not folder.is_dir():  # a server holds the index; its manifest lies in the workspace
            folder = self.workspace.index(release.task)
        if read_manifest(folder).version != release.index_version:
            raise StepladderError(
                "the index is not the version that the release was made with",
                where=str(folder),
                remedy="promote a release of the index that is there, or put that version back",
            )
        place = IndexPlace(folder=folder, knowledge=release.knowledge, embedder=release.embedder)
        # Also a warm-up: the index opens and the embedder loads at their first question.
        asyncio.run(self._process.search(place, ["warm up"]))
        return BatchedRetrieval(partial(self._process.search, place))
