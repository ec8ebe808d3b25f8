"""Answer a question from the newest release, by the same code as in evaluation."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.evaluation.respond import responding
from stepladder.models import model_digest, require_base
from stepladder.prompting.compose import compose
from stepladder.releases import Registered, newest, require_contents, use_mlflow
from stepladder.stages.answering import Contexts, open_contexts, responder_for
from stepladder.stages.finetune import merged_model
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Strict, load_task


class Source(Strict):
    """A passage that the answer was given: its page, heading path and id."""

    id: str
    page: str
    heading: str


class Answer(Strict):
    """What the newest release said, and from which passages."""

    task: str
    release: str
    rung: str
    answer: str
    sources: list[Source]


def ask(workspace: Workspace, name: str, question: str) -> Answer:
    """Answer from the newest release of a task.

    Raises:
        StepladderError: the task has no release, its files are not those that were registered, or the engine
            fails.
    """
    workspace.task(name)
    use_mlflow(workspace.settings.mlflow)
    registered = newest(name, workspace.releases)
    require_contents(registered, registered.files)
    release, store = registered.release, workspace.settings.knowledge.store
    opened = (
        open_contexts(registered.folder / "index", release.asked_at(store), release.embedder)
        if release.plan.retrieval
        else nullcontext(Contexts(None))
    )
    with opened as contexts, workspace.responses() as cache:
        return _answer(workspace, registered, question, contexts, cache)


def _answer(
    workspace: Workspace, registered: Registered, question: str, contexts: Contexts, cache: Cache
) -> Answer:
    release = registered.release
    task = load_task(registered.folder / "task", rows=False)
    found = contexts.retrieved([question])[0] if release.plan.retrieval else []
    request, sources = compose(task, release.plan, question, found, contexts.count_tokens)
    base = require_base(release.base)
    if model_digest(base) != release.base_digest:
        raise StepladderError(
            "the base model is not the one that the release was made with",
            where=base,
            remedy="put that model back, or run `stepladder climb` for a release of the model that is there",
        )
    model = _model(workspace, registered, base)
    with responding(responder_for(workspace, cache, str(model), base, release.adapter_digest)) as responder:
        text = responder.respond([request])[0].text
    return Answer(
        task=release.task,
        release=registered.version,
        rung=release.plan.rung,
        answer=text,
        sources=[Source(id=one.id, page=one.page, heading=" > ".join(one.heading)) for one in sources],
    )


def _model(workspace: Workspace, registered: Registered, base: str) -> Path | str:
    digest = registered.release.adapter_digest
    return merged_model(workspace, base, registered.folder / "adapter", digest) if digest else base
