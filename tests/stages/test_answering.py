"""What the evaluate stages and ``ask`` share."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.prompting.compose import Request
from stepladder.settings import load_settings
from stepladder.stages.answering import responder_for
from stepladder.stages.workspace import Workspace
from tests.stub_server import stub_server

ROOT = Path(__file__).parents[2]
LONG = Request(messages=[{"role": "user", "content": "state " * 99}], output_schema=None, max_tokens=8)


def workspace(folder: Path, **engine: object) -> Workspace:
    settings = load_settings(ROOT / "params.yaml")
    changed = settings.engine.model_copy(update={"dtype": "float32", "max_model_len": 50, **engine})
    return Workspace(folder, settings.model_copy(update={"engine": changed}))


def test_a_prompt_too_long_for_the_engine_is_named_before_one_starts(
    tiny_llama: Path, tmp_path: Path
) -> None:
    base = str(tiny_llama)
    with Cache(tmp_path / "r.sqlite") as cache:
        responder = responder_for(workspace(tmp_path), cache, base, base, None)
        with pytest.raises(StepladderError, match="case c1: "):
            responder.respond([LONG], names=["case c1"])
    assert not (tmp_path / ".stepladder/logs").exists()


def test_a_server_that_was_attached_to_tells_its_own_limit(tiny_llama: Path, tmp_path: Path) -> None:
    base = str(tiny_llama)
    with stub_server(lambda _: "x") as server, Cache(tmp_path / "r.sqlite") as cache:
        responder = responder_for(workspace(tmp_path, url=server.url), cache, base, base, None)
        assert responder.respond([LONG])[0].text == "x"
        responder.close()
