"""A release as what answers: its prompt, index and model, as they were registered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.evaluation.respond import responding
from stepladder.knowledge.upkeep import UPKEEP, Upkeep
from stepladder.models import model_digest, require_base
from stepladder.releases import Registered, require_contents
from stepladder.stages.answering import Assistant, Contexts, open_contexts, responder_for
from stepladder.stages.finetune import merged_model
from stepladder.stages.workspace import Workspace, load
from stepladder.tasks import load_task


@contextmanager
def frozen_assistant(workspace: Workspace, registered: Registered, cache: Cache) -> Iterator[Assistant]:
    """What answers as a release does, by the code of evaluation; its engine starts for what is unknown.

    Raises:
        StepladderError: its files are not those that were registered, or its base model is not here.
    """
    require_contents(registered, registered.files)
    release = registered.release
    task = load_task(registered.folder / "task", rows=False)
    base = require_base(release.base)
    if model_digest(base) != release.base_digest:
        raise StepladderError(
            "the base model is not the one that the release was made with",
            where=base,
            remedy="put that model back, or run `stepladder climb` for a release of the model that is there",
        )
    model = _model(workspace, registered, base)
    with (
        _contexts(workspace, registered) as contexts,
        responding(responder_for(workspace, cache, str(model), base, release.adapter_digest)) as responder,
    ):
        yield Assistant(task, contexts, responder)


@contextmanager
def _contexts(workspace: Workspace, registered: Registered) -> Iterator[Contexts]:
    release, folder = registered.release, registered.folder / "index"
    store = workspace.settings.knowledge.store
    opened = (
        open_contexts(folder, release.asked_at(store), release.embedder)
        if release.plan.retrieval
        else nullcontext(Contexts(None))
    )
    with opened as contexts:
        # A release of before it was measured has no such file.
        measured = (folder / UPKEEP).is_file()
        yield replace(contexts, query_ms=load(Upkeep, folder / UPKEEP).query_ms) if measured else contexts


def _model(workspace: Workspace, registered: Registered, base: str) -> Path | str:
    digest = registered.release.adapter_digest
    return merged_model(workspace, base, registered.folder / "adapter", digest) if digest else base
