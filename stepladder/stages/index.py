"""Build the index version of a task's knowledge, and measure retrieval on the cases."""

import shutil
from pathlib import Path

from stepladder.console import progress, say
from stepladder.data.prepare import load_prepared
from stepladder.errors import StepladderError
from stepladder.evaluation.retrieval import retrieval_metrics
from stepladder.files import write_json, writing
from stepladder.hardware import machine
from stepladder.knowledge.build import build_index, chunk_pages, publish_index
from stepladder.knowledge.embed import Embedder, load_embedder
from stepladder.knowledge.manifest import Manifest
from stepladder.knowledge.retrieve import open_retriever
from stepladder.knowledge.same import same_index
from stepladder.knowledge.upkeep import UPKEEP, Upkeep, mean_query_ms, upkeep_of
from stepladder.stages.rungs import retrieval_headline
from stepladder.stages.workspace import Workspace, load, save
from stepladder.tasks import Task

_DEPTHS = {1, 3, 10}  # and as many as a rung is given
_SAMPLE_PAGES = 50  # whose chunks measure the embedding rate where none was measured


def run(workspace: Workspace, name: str) -> None:
    """Write the index folder and the retrieval metrics."""
    task = workspace.task(name)
    if not task.has_knowledge:
        write_json(workspace.index_version(name), {"version": None})
        write_json(workspace.retrieval_metrics(name), None)
        say(f"index {name}: nothing to index, the task has no knowledge folder")
        return
    manifest = _build(workspace, task)
    _measure(workspace, task)
    # Last: who follows the alias gets the new version when all of it is known.
    publish_index(manifest, workspace.settings.knowledge.store)


def _build(workspace: Workspace, task: Task) -> Manifest:
    settings = workspace.settings
    embedder = load_embedder(settings.models.embedder)
    before = workspace.index(task.name)
    with (
        workspace.embeddings() as cache,
        writing(before) as draft,
        progress(f"embed {task.name}", "chunks") as on_progress,
    ):
        manifest = build_index(task.pages, settings.knowledge, embedder, draft, cache, task.name, on_progress)
        if _is_measured(before, draft):
            # As it was, to the byte: its files and what was measured of it would differ with every build,
            # and the evaluate stage depends on them.
            shutil.rmtree(draft)
            shutil.copytree(before, draft)
        else:
            save(draft / UPKEEP, _upkeep(workspace, task, embedder, manifest, draft))
        # The other stages depend on this file: an index rebuilt from the same chunks makes nothing stale.
        write_json(draft / workspace.index_version(task.name).name, {"version": manifest.version})
    timings = manifest.timings
    say(
        f"index {task.name}: {manifest.chunks} chunks of {manifest.pages} pages, {timings.embedded} embedded"
        f" in {timings.embed_s:.0f} s, version {manifest.version[:12]}"
    )
    return manifest


def _is_measured(before: Path, draft: Path) -> bool:
    """Whether ``before`` is the same index as the one in ``draft``, and was measured on this machine."""
    if not (before / UPKEEP).is_file() or not same_index(before, draft):
        return False
    try:
        upkeep = load(Upkeep, before / UPKEEP)
    except StepladderError:  # it is damaged, or of another form
        return False
    return upkeep.query_ms > 0 and upkeep.hardware == machine()


def _upkeep(workspace: Workspace, task: Task, embedder: Embedder, manifest: Manifest, folder: Path) -> Upkeep:
    """What a rebuild without any cache would take, and what a query of the index in ``folder`` does."""
    some = dict(list(task.pages.items())[:_SAMPLE_PAGES])
    texts = [chunk.text for chunk in chunk_pages(some, workspace.settings.knowledge.chunk_tokens, embedder)]
    rebuilt = upkeep_of(manifest, embedder, texts, workspace.rates, machine())
    cases = load_prepared(workspace.prepared(task.name)).cases
    with open_retriever(folder, workspace.settings.knowledge, embedder) as retriever:
        query_ms = mean_query_ms(retriever.retrieve, [case.input for case in cases])
    return rebuilt.model_copy(update={"query_ms": query_ms})


def _measure(workspace: Workspace, task: Task) -> None:
    settings = workspace.settings
    cases = load_prepared(workspace.prepared(task.name)).cases
    depths = sorted(_DEPTHS | {settings.knowledge.top_k})
    with open_retriever(
        workspace.index(task.name), settings.knowledge, settings.models.embedder
    ) as retriever:
        found = retriever.retrieve_many([case.input for case in cases], depths[-1])
    metrics = retrieval_metrics(
        cases,
        [[one.chunk.id for one in ranked] for ranked in found],
        depths,
        confidence=settings.evaluation.confidence,
        resamples=settings.evaluation.resamples,
        seed=settings.seed,
    )
    write_json(workspace.retrieval_metrics(task.name), metrics.model_dump(mode="json") if metrics else None)
    measured = retrieval_headline(workspace, task.name)
    found_at = ", ".join(f"{label} {value.estimate:.2f}" for label, value in measured.items())
    say(f"retrieval {task.name}: {found_at or 'no case names evidence'}")
