"""What the evaluate stages and ``ask`` share."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.evaluation.resampling import Resampling
from stepladder.evaluation.respond import responding
from stepladder.ladder.criteria import ask
from stepladder.prompting.compose import Plan, Request
from stepladder.settings import load_settings
from stepladder.stages.answering import Assistant, Contexts, responder_for
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Case, Task
from tests.ladder.world import SPEC, MadeUpResponder, MadeUpRetriever
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


def test_a_rung_that_retrieves_waits_for_it_and_the_others_do_not(tmp_path: Path) -> None:
    case = Case(id="c", input="What is the value of key 0?", reference="value-0", cluster="c")
    contexts = Contexts(MadeUpRetriever(["none"] * 12), query_ms=7.0)  # type: ignore[arg-type]
    assistant = Assistant(Task(tmp_path, SPEC, "Answer."), contexts, MadeUpResponder(["none"]))  # type: ignore[arg-type]
    for rung, waited in (("prompt", 0.0), ("rag", 7.0)):
        (answered,) = assistant.answer(Plan(rung=rung, context_tokens=100), [case]).outcomes
        assert answered.retrieval_ms == waited
        assert answered.latency_ms == answered.response.latency_ms + waited
        bars = SPEC.bars.model_copy(update={"latency_p95_ms": 5.0})
        in_time = ask(rung, [answered], bars, Resampling(), None, 0.0).bounded[1].score.estimate
        assert in_time == float(waited == 0)


def test_a_server_that_was_attached_to_tells_its_own_limit(tiny_llama: Path, tmp_path: Path) -> None:
    base = str(tiny_llama)
    with stub_server(lambda _: "x") as server, Cache(tmp_path / "r.sqlite") as cache:
        responder = responder_for(workspace(tmp_path, url=server.url), cache, base, base, None)
        assert responder.respond([LONG])[0].text == "x"
        responder.close()


def answers(workspace: Workspace, base: str) -> str:
    with workspace.responses() as cache, responding(responder_for(workspace, cache, base, base, None)) as one:
        return one.respond([LONG])[0].text


def test_each_model_of_a_server_is_asked_by_itself_and_known_answers_need_no_server(
    tiny_llama: Path, tmp_path: Path
) -> None:
    base = str(tiny_llama)
    with stub_server(lambda body: body["model"]) as server:
        here = workspace(tmp_path, url=server.url)
        for model in ("one", "two", "one", "two"):
            server.model = model
            assert answers(here, base) == model
        assert len(server.seen) == 2
    assert answers(here, base) == "two", "what it served last"


@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_comes_back_with_another_model_is_not_asked_under_the_name_of_the_last(
    tiny_llama: Path, tmp_path: Path, known: bool
) -> None:
    base = str(tiny_llama)
    with stub_server(lambda body: body["model"]) as server:
        here = workspace(tmp_path, url=server.url)
        if known:
            answers(here, base)
        server.lost.append("/v1/models")
        with here.responses() as cache, responding(responder_for(here, cache, base, base, None)) as one:
            server.lost.clear()
            server.model = "another"
            request = LONG.model_copy(update={"max_tokens": 9})
            with pytest.raises(StepladderError, match="the server serves another, but") as caught:
                one.respond([request])
        assert f"looked up for {'stub' if known else 'no model'}" in str(caught.value)
        assert caught.value.may_pass
        assert answers(here, base) == "another"


def test_a_servers_password_is_stored_nowhere_and_a_new_one_asks_nothing_again(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(tiny_llama)
    with stub_server(lambda _: "x") as server, Cache(tmp_path / "r.sqlite") as cache:
        for password in ("secret", "changed"):
            url = server.url.replace("//", f"//ann:{password}@")
            responder = responder_for(workspace(tmp_path, url=url), cache, base, base, None)
            (said,) = responder.respond([LONG])
            responder.close()
            assert said.hardware == f"the server at {server.url}"
        assert len(server.seen) == 1
    assert "secret" not in capsys.readouterr().err
