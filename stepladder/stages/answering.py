"""What the two evaluate stages and ``ask`` share: contexts for questions, and a responder for a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stepladder.cache import Cache
from stepladder.console import console, progress, say
from stepladder.engine import RunningEngine, dtype_of, engine
from stepladder.evaluation.evaluate import evaluate
from stepladder.evaluation.length import require_fitting
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.respond import Named, Responder
from stepladder.evaluation.summary import summarise
from stepladder.failures import without_password
from stepladder.files import digest_value
from stepladder.hardware import machine
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.retrieve import Retriever, open_retriever
from stepladder.knowledge.upkeep import UPKEEP, Upkeep
from stepladder.models import model_digest
from stepladder.prompting.compose import Plan
from stepladder.settings import Engine, Knowledge
from stepladder.stages.served import require_served, served_model
from stepladder.stages.workspace import Workspace, load
from stepladder.tasks import Case, Task

_STARTING = "engine: starting vLLM for {model} (about a minute on a CPU)"


@dataclass(frozen=True)
class Contexts:
    """Retrieved and gold chunks for questions; empty lists for a task without knowledge.

    ``query_ms``: what one query takes by itself, as it was measured when the index was built.
    """

    retriever: Retriever | None
    query_ms: float = 0.0

    def retrieved(self, questions: Sequence[str]) -> list[list[Chunk]]:
        """Per question the top k chunks, best first."""
        if self.retriever is None:
            return [[] for _ in questions]
        return [[one.chunk for one in found] for found in self.retriever.retrieve_many(questions)]

    def gold(self, evidence: Sequence[Sequence[str]]) -> list[list[Chunk]]:
        """Per row the chunks that its evidence ids name."""
        if self.retriever is None:
            return [[] for _ in evidence]
        return [self.retriever.chunks_for(ids) for ids in evidence]

    def count_tokens(self, text: str) -> int:
        """Tokens of a text for the context budget."""
        return self.retriever.count_tokens(text) if self.retriever else 0


@contextmanager
def contexts_of(workspace: Workspace, task: Task) -> Iterator[Contexts]:
    """Open the task's index, where it has knowledge."""
    if not task.has_knowledge:
        yield Contexts(None)
        return
    settings = workspace.settings
    folder = workspace.index(task.name)
    with open_contexts(folder, settings.knowledge, settings.models.embedder) as contexts:
        yield replace(contexts, query_ms=load(Upkeep, folder / UPKEEP).query_ms)


@contextmanager
def open_contexts(folder: Path, knowledge: Knowledge, embedder: str) -> Iterator[Contexts]:
    """Open an index folder."""
    with open_retriever(folder, knowledge, embedder) as retriever:
        yield Contexts(retriever)


@dataclass(frozen=True)
class Assistant:
    """A task's documents and a model: what answers its cases."""

    task: Task
    contexts: Contexts
    responder: Responder

    def answer(self, plan: Plan, cases: Sequence[Case], label: str = "cases") -> RungOutcomes:
        """Evaluate one rung over cases, with progress."""
        label = f"{plan.rung} {plan.variant} ({label})"
        if not plan.retrieval:
            return self.answer_from([[] for _ in cases], plan, cases, label)
        found = self.contexts.retrieved([case.input for case in cases])
        answered = self.answer_from(found, plan, cases, label)
        timed = {"retrieval_ms": self.contexts.query_ms}
        outcomes = [one.model_copy(update=timed) for one in answered.outcomes]
        return answered.model_copy(update={"outcomes": outcomes})

    def answer_from(
        self,
        passages: Sequence[Sequence[Chunk]],
        plan: Plan,
        cases: Sequence[Case],
        label: str,
    ) -> RungOutcomes:
        """Evaluate over given passages: what a probe does."""
        count = self.contexts.count_tokens
        with progress(f"{self.task.name} {label}", "responses") as on_progress:
            return evaluate(self.task, plan, cases, passages, self.responder, count, on_progress)


def tell(workspace: Workspace, outcomes: RungOutcomes) -> None:
    """A rung's number on screen as soon as it is known."""
    summary = summarise(outcomes, workspace.settings.evaluation, workspace.settings.seed)
    interval = summary.interval
    between = f" ({interval.low:.3f} to {interval.high:.3f})" if interval.low is not None else ""
    say(
        f"{outcomes.task} {outcomes.rung} ({outcomes.variant}): score {summary.score:.3f}"
        f"{between}, n={summary.n}"
    )


def responder_for(
    workspace: Workspace, cache: Cache, model: str, base: str, adapter_digest: str | None
) -> Responder:
    """A responder that starts an engine for ``model`` (a checkpoint merged from ``base``, or the base)."""
    settings = workspace.settings.engine
    # A server that runs already serves the base; a merged model needs an engine of its own.
    url = settings.url if model == base else None
    served = served_model(workspace, url) if url else None

    def fits(prompts: Sequence[Named]) -> None:
        if url is None:  # another server has its own limit and tells it
            require_fitting(prompts, base, settings.max_model_len)

    return Responder(
        model_digest=_generator_digest(settings, model, base, served),
        adapter_digest=adapter_digest,
        cache=cache,
        start=_starter(workspace, model, url, served),
        concurrency=settings.concurrency,
        timeout_s=settings.request_timeout_s,
        check=fits,
        hardware=_hardware(settings, url),
    )


def _generator_digest(settings: Engine, model: str, base: str, served: str | None) -> str:
    """What generates: weights, number format and, where one is attached to, the server and what it serves."""
    dtype = dtype_of(settings)
    made_of = {"model": model_digest(base), "dtype": dtype, "server": None}
    if model != base:
        return digest_value({**made_of, "merged_in": dtype})
    if settings.url is None:
        return digest_value(made_of)
    # A new password, or another person's, empties no cache.
    return digest_value({**made_of, "server": without_password(settings.url), "served": served})


def _hardware(settings: Engine, url: str | None) -> str:
    """What the answers come from: this machine, or a server of which only the address is known."""
    return f"the server at {without_password(url)}" if url else f"{machine()}, {dtype_of(settings)}"


def _starter(
    workspace: Workspace, model: str, url: str | None, served: str | None
) -> Callable[[], AbstractContextManager[RunningEngine]]:
    settings = workspace.settings.engine.model_copy(update={"url": url})

    @contextmanager
    def start() -> Iterator[RunningEngine]:
        with ExitStack() as stack:
            with console().status(f"engine: starting for {model}") as status:

                def on_wait(seconds: float) -> None:
                    status.update(f"engine: starting for {model}, {seconds:.0f} s")

                attaching = url and f"engine: attaching to {without_password(url)}"
                say(attaching or _STARTING.format(model=model))
                running = stack.enter_context(engine(model, settings, workspace.scratch / "logs", on_wait))
                if url:
                    require_served(running, served)
            yield running

    return start
