"""A page that is removed through the inbox is found by no question: a real embedder, a real index."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from stepladder.knowledge.retrieve import open_retriever
from stepladder.stages import index
from stepladder.stages.workspace import Workspace
from tests.data.ingest.conftest import PARAMS, Project

PACKAGED = "packaged:all-MiniLM-L6-v2"
QUESTION = "How deep is the reef?"
REEF = "# Reef\n\n## Depth\n\nThe reef is nine fathoms deep.\n"


@pytest.mark.slow
def test_a_removed_page_leaves_the_index(plain_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    params = PARAMS | {"models": {"base": "b", "embedder": PACKAGED}}
    (plain_project.root / "params.yaml").write_text(yaml.safe_dump(params))
    workspace = Workspace(plain_project.root, plain_project.settings)
    # The stage prepare would need the base model, for its tokenizer.
    monkeypatch.setattr(index, "load_prepared", lambda _: SimpleNamespace(cases=workspace.task("tiny").cases))

    def found() -> set[str]:
        plain_project.ingest()
        index.run(workspace, "tiny")
        knowledge = workspace.settings.knowledge
        with open_retriever(workspace.index("tiny"), knowledge, PACKAGED) as retriever:
            return {one.chunk.id.partition("#")[0] for one in retriever.retrieve(QUESTION)}

    plain_project.send("tiny/knowledge/reef.md", REEF)
    assert found() == {"reef", "harbour"}
    plain_project.send("tiny/knowledge/reef.md.removed", "")
    assert found() == {"harbour"}
