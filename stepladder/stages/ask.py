"""Answer a question from the newest release, by the same code as in evaluation."""

from __future__ import annotations

from stepladder.prompting.compose import compose
from stepladder.releases import newest, use_mlflow
from stepladder.stages.frozen import frozen_assistant
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Strict


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
    release = registered.release
    with workspace.responses() as cache, frozen_assistant(workspace, registered, cache) as assistant:
        contexts = assistant.contexts
        found = contexts.retrieved([question])[0] if release.plan.retrieval else []
        request, sources = compose(assistant.task, release.plan, question, found, contexts.count_tokens)
        text = assistant.responder.respond([request])[0].text
    return Answer(
        task=release.task,
        release=registered.version,
        rung=release.plan.rung,
        answer=text,
        sources=[Source(id=one.id, page=one.page, heading=" > ".join(one.heading)) for one in sources],
    )
