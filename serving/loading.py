"""From the registry to the router: fetch releases, open their indexes, attach to or start their engines."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from serving.retrieval import BatchedRetrieval
from serving.router import Lineup, Router, Serving
from stepladder.console import say
from stepladder.engine import RunningEngine, engine
from stepladder.errors import StepladderError
from stepladder.knowledge.embed import Embedder, load_embedder
from stepladder.knowledge.retrieve import open_retriever
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
        executor = stack.enter_context(ThreadPoolExecutor(1, "retrieval"))
        loader = _Loader(workspace, engine_url, executor, stack)
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
    """Loads releases; models, engines and embedders that several have in common are loaded once."""

    def __init__(
        self, workspace: Workspace, engine_url: str | None, executor: Executor, stack: ExitStack
    ) -> None:
        self.workspace = workspace
        self._engine_url = engine_url
        self._executor = executor
        self._stack = stack
        self._engines: dict[str, RunningEngine] = {}
        self._embedders: dict[str, Embedder] = {}

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
        embedder = self._embedders.setdefault(release.embedder, load_embedder(release.embedder))
        retriever = self._stack.enter_context(open_retriever(folder, release.knowledge, embedder))
        if retriever.version != release.index_version:
            raise StepladderError(
                "the index is not the version that the release was made with",
                where=str(folder),
                remedy="promote a release of the index that is there, or put that version back",
            )
        retriever.retrieve("warm up")  # the model loads at its first question
        return BatchedRetrieval(retriever, self._executor)
