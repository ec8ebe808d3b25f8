"""From files to a release that answers: what is not as registered never does; a real vLLM, a real index."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.engines import NoRoomError
from serving.loading import Loader, UnfetchedError
from serving.merging import merge_apart
from serving.models import MachineError
from serving.router import Lineup, Passage
from serving.search import IndexPlace, SearchProcess
from serving.settings import Reconcile
from serving.smoke import HungError, RefusalError
from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.files import digest_file, digest_folder, read_json, write_json, writing
from stepladder.knowledge.build import build_index
from stepladder.knowledge.embed import load_embedder
from stepladder.model_copies import keep_copy
from stepladder.models import PACKAGED_BASE, model_digest
from stepladder.promotion import Version
from stepladder.prompting.compose import Plan
from stepladder.releases import OUTCOMES, Release, files_digest, freeze, short
from stepladder.settings import Knowledge, load_settings
from stepladder.stages.workspace import Workspace
from tests.knowledge.conftest import WordEmbedder
from tests.serving.fake_vllm.vllm.entrypoints.openai.api_server import WORDS
from tests.serving.house import PAGES, ROOT, Gate, House, answering, house_in
from tests.serving.plant import make_base
from tests.serving.test_engines import takes_adapters
from tests.serving.test_smoke import outcome, outcomes

PACKAGED = "packaged:all-MiniLM-L6-v2"
SAID = '"The default of state is enabled"'
SPEC: dict[str, Any] = {"title": "T", "bars": {"score": 0.5}, "margin": 0.1, "monthly_requests": 1}


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    """On a machine with nothing but a base model; its engines are stubs in vLLM's place."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests/serving/fake_vllm'}{os.pathsep}{ROOT}")
    make_base(tmp_path)
    with closing(SearchProcess()) as searches:
        yield Loader(workspace_in(tmp_path), Reconcile(), searches)


class Artifacts:
    """What MLflow has of a release: a folder, fetched as often as it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched = 0

    def take(self, release: Path) -> None:
        shutil.copytree(release, self.folder)

    def fetch(self, _: str, dst_path: str) -> str:
        self.fetched += 1
        return str(shutil.copytree(self.folder, Path(dst_path) / "release"))


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    import mlflow

    made = Artifacts(tmp_path / "artifacts")
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", made.fetch)
    return made


def damage(path: Path) -> None:
    path.write_text(path.read_text().replace("Hello", "Bye") if path.name == OUTCOMES else "{ }")


def copy_of(folder: Path, version: Version) -> Path:
    return workspace_in(folder).releases / short(version.digest)


def workspace_in(folder: Path) -> Workspace:
    settings = load_settings(ROOT / "params.yaml")
    engine = settings.engine.model_copy(update={"url": None})
    return Workspace(folder, settings.model_copy(update={"engine": engine}))


def frozen(
    folder: Path,
    said: str,
    *,
    base: Path,
    spec: dict[str, Any],
    plan: Plan,
    index: Path | None = None,
    adapter: Path | None = None,
) -> Version:
    """A release that lies where a copy from the registry would."""
    task = folder / "task"
    task.mkdir()
    (task / "task.yaml").write_text(yaml.safe_dump({**SPEC, **spec}))
    (task / "prompt.md").write_text("Hello")
    told = outcomes(outcome(1, said), outcome(2, said))
    write_json(folder / OUTCOMES, told.model_dump(mode="json"))
    release = Release(
        task="t",
        plan=plan,
        base=str(base),
        base_digest=model_digest(str(base)),
        embedder=PACKAGED,
        knowledge=Knowledge(),
        task_digest="t",
        prompt_digest=digest_file(task / "prompt.md"),
        index_version=yaml.safe_load((index / "manifest.json").read_text())["version"] if index else None,
        adapter_digest=digest_folder(adapter) if adapter else None,
        verdict_digest="v",
    )
    out = workspace_in(folder).releases / short(release.digest)
    freeze(release, out, task=task, files={OUTCOMES: folder / OUTCOMES}, index=index, adapter=adapter)
    return Version(version="1", digest=release.digest, rung=plan.rung, files=files_digest(out))


HELLO = " ".join(["Hello"] * WORDS)


def plain(folder: Path) -> Version:
    plan = Plan(rung="prompt", context_tokens=10)
    return frozen(folder, HELLO, base=folder / "models/tiny", spec={"scorer": "exact"}, plan=plan)


def tuned(folder: Path, base: Path) -> Version:
    """A release with an adapter of the base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder / "adapter")
    plan = Plan(rung="lora", context_tokens=10)
    spec = {"scorer": "exact"}
    return frozen(folder, HELLO, base=base, spec=spec, plan=plan, adapter=folder / "adapter")


def test_what_is_as_registered_is_loaded_and_let_go(loader: Loader, tmp_path: Path) -> None:
    loaded = loader.load("t", plain(tmp_path))
    assert loaded.serving.engine.alive()
    assert loaded.frees_gib() > 0
    loaded.close()
    assert not loaded.serving.engine.alive()


def test_an_engine_that_hangs_in_smoke_cases_is_replaced_and_no_release_that_shares_it_is_to_blame(
    loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = plain(tmp_path)
    first = loader.load("t", version)
    with monkeypatch.context() as patch:
        patch.setattr("serving.loading.require_smoke", hangs)
        with pytest.raises(HungError) as caught:
            loader.load("t", version)
    assert caught.value.may_pass
    assert first.serving.engine.alive(), "until the next load"
    second = loader.load("t", version)
    assert not first.serving.engine.alive()
    assert second.serving.engine.alive()
    for one in (first, second):
        one.close()


def hangs(*_: object) -> None:
    raise HungError("it did not answer")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ("task/prompt.md", "prompt is not the one that was registered"),
        ("task/task.yaml", "task or index is not the one that was registered"),
        ("release.json", "not a release"),
        (OUTCOMES, "2 of 2 smoke cases"),
    ],
)
def test_what_is_not_as_registered_where_it_comes_from_is_refused(
    loader: Loader, tmp_path: Path, artifacts: Artifacts, changed: str, why: str
) -> None:
    version = plain(tmp_path)
    damage(copy_of(tmp_path, version) / changed)
    artifacts.take(copy_of(tmp_path, version))
    with pytest.raises(RefusalError, match=why):
        loader.load("t", version)


@pytest.mark.parametrize("changed", ["task/prompt.md", "task/task.yaml", "release.json"])
@pytest.mark.parametrize("how", [damage, Path.unlink])
def test_a_copy_that_was_damaged_is_fetched_once_more(
    loader: Loader, tmp_path: Path, artifacts: Artifacts, changed: str, how: Callable[[Path], None]
) -> None:
    version = plain(tmp_path)
    artifacts.take(copy_of(tmp_path, version))
    how(copy_of(tmp_path, version) / changed)
    loader.load("t", version).close()
    assert artifacts.fetched == 1


def test_a_damaged_copy_without_a_registry_is_no_reason_to_refuse(loader: Loader, tmp_path: Path) -> None:
    version = plain(tmp_path)
    damage(copy_of(tmp_path, version) / "task/prompt.md")
    with pytest.raises(UnfetchedError):
        loader.load("t", version)


def test_a_base_model_that_is_not_here_is_copied_from_mlflow(
    loader: Loader, tmp_path: Path, mlflow_store: Path
) -> None:
    base = tmp_path / "models/tiny"
    (base / "README.md").write_text("Of this test alone: the store is of many.")
    version = plain(tmp_path)
    keep_copy(base, digest_folder(base))
    shutil.rmtree(base)
    loader.load("t", version).close()
    (copy,) = workspace_in(tmp_path).model_copies.iterdir()
    assert (copy / "README.md").is_file()


def test_another_base_model_is_this_machines_fault_and_mended_without_a_restart(
    loader: Loader, tmp_path: Path, mlflow_store: Path
) -> None:
    version = plain(tmp_path)
    config = tmp_path / "models/tiny/config.json"
    before = config.read_text()
    for wrong, why in (("{ }", "another base model"), (None, "no base model")):
        config.write_text(wrong) if wrong else config.unlink()
        with pytest.raises(MachineError, match=why):
            loader.load("t", version)
    config.write_text(before)
    loader.load("t", version).close()


@pytest.mark.slow
def test_an_adapter_is_merged_apart_and_served_by_an_engine_of_its_own(
    loader: Loader, tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_one = loader.load("t", plain(tmp_path))
    shutil.rmtree(tmp_path / "task")
    version = tuned(tmp_path, tiny_llama)
    monkeypatch.setattr("serving.engines.free_gib", lambda: 1.0)
    with pytest.raises(NoRoomError):
        loader.load("t", version)
    assert not (tmp_path / ".stepladder/merged").exists(), "it is not merged without memory for it"
    monkeypatch.setattr("serving.engines.free_gib", lambda: 100.0)
    loaded = loader.load("t", version)
    assert loaded.serving.engine.url != plain_one.serving.engine.url
    (merged,) = (tmp_path / ".stepladder/merged").iterdir()
    assert (merged / "model.safetensors").is_file()
    for one in (loaded, plain_one):
        one.close()


def test_a_merge_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="no adapter here"):
        merge_apart("base", tmp_path, tmp_path / "out", "float32", lambda: None)
    assert not (tmp_path / "out").exists()


def test_a_gateway_that_ends_does_not_wait_for_a_merge(tmp_path: Path) -> None:
    def ends() -> None:
        raise StepladderError("the gateway is ending")

    with pytest.raises(StepladderError, match="ending"):
        merge_apart("base", tmp_path, tmp_path / "out", "float32", ends)


def test_a_gateway_that_ends_does_not_wait_for_a_download(
    loader: Loader, tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = plain(tmp_path)
    shutil.rmtree(copy_of(tmp_path, version))
    over = threading.Event()

    def hangs(*_: object, **__: object) -> str:
        loader.abort()
        over.wait()
        raise OSError("connection reset")

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", hangs)
    try:
        with pytest.raises(StepladderError, match="ending"):
            loader.load("t", version)
    finally:
        over.set()


def test_an_adapter_joins_the_replicas_that_run(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = tuned(tmp_path, tiny_llama)
    with takes_adapters() as one, takes_adapters() as other, closing(SearchProcess()) as searches:
        monkeypatch.setattr("tests.serving.test_engines.SAYS", HELLO)
        hot = Reconcile(adapters="hot", engines=[one.url, other.url])
        loaded = Loader(workspace_in(tmp_path), hot, searches).load("t", version)
        name = loaded.serving.engine.model
        assert list(one.adapters) == list(other.adapters) == [name]
        assert name.endswith(f"-{(tmp_path / '.stepladder/gateway.id').read_text()}")
        assert {body["model"] for body in one.seen} == {name}, "its smoke cases"
        other.adapters.clear()
        loaded.mend()
        assert list(other.adapters) == [name]
        one.adapters[name] = "left by a kill"
        again = Loader(workspace_in(tmp_path), hot, searches).load("t", version)
        assert again.serving.engine.model == name, "after a restart it has the name that it had"
        assert one.adapters[name] != "left by a kill"
        loaded.close()
        assert one.adapters == other.adapters == {}


def test_an_adapter_that_is_not_as_registered_is_refused(
    loader: Loader, tmp_path: Path, tiny_llama: Path, artifacts: Artifacts
) -> None:
    version = tuned(tmp_path, tiny_llama)
    (copy_of(tmp_path, version) / "adapter/adapter_model.safetensors").write_bytes(b"other")
    artifacts.take(copy_of(tmp_path, version))
    with pytest.raises(RefusalError, match="adapter is not the one that was registered"):
        loader.load("t", version)


def indexed(folder: Path, changes: dict[str, str] | None = None) -> Version:
    """A release with an index, of words, its manifest changed: it is said to be of the packaged embedder."""
    with writing(folder / "built") as draft, Cache(folder / "cache.sqlite") as cache:
        build_index(PAGES, Knowledge(), WordEmbedder(), draft, cache, "t")
    manifest = read_json(folder / "built/manifest.json")
    manifest["embedder"]["digest"] = load_embedder(PACKAGED).model_digest
    write_json(folder / "built/manifest.json", manifest | (changes or {}))
    plan = Plan(rung="rag", context_tokens=10)
    base = folder / "models/tiny"
    return frozen(folder, HELLO, base=base, spec={"scorer": "exact"}, plan=plan, index=folder / "built")


def test_an_index_that_is_not_as_registered_is_refused(
    loader: Loader, tmp_path: Path, artifacts: Artifacts
) -> None:
    version = indexed(tmp_path)
    index = copy_of(tmp_path, version) / "index"
    largest = max((path for path in index.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"x")
    artifacts.take(copy_of(tmp_path, version))
    with pytest.raises(RefusalError, match="task or index is not the one that was registered"):
        loader.load("t", version)


def test_a_release_of_which_nobody_knows_the_files_is_refused(
    loader: Loader, tmp_path: Path, artifacts: Artifacts
) -> None:
    version = plain(tmp_path)
    artifacts.take(copy_of(tmp_path, version))
    with pytest.raises(RefusalError, match="task or index is not the one that was registered"):
        loader.load("t", version.model_copy(update={"files": ""}))


def test_an_index_of_another_version_is_refused(loader: Loader, tmp_path: Path) -> None:
    version = indexed(tmp_path)
    manifest = copy_of(tmp_path, version) / "index/manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "', '"version": "0'))
    with pytest.raises(RefusalError, match="not the version that it was made with"):
        loader.load("t", version.model_copy(update={"files": files_digest(copy_of(tmp_path, version))}))


class Searches:
    """Stands where the search process does."""

    def __init__(self) -> None:
        self.places: list[IndexPlace] = []

    def ask(self, place: IndexPlace, _: str) -> list[Passage]:
        self.places.append(place)
        return []

    search = ask


def test_an_index_that_was_fetched_anew_is_opened_anew(
    loader: Loader, tmp_path: Path, artifacts: Artifacts
) -> None:
    """Of the folder that lay there before, files may be open."""
    version = indexed(tmp_path)
    artifacts.take(copy_of(tmp_path, version))
    searches: Any = Searches()
    own = Loader(workspace_in(tmp_path), Reconcile(), searches)
    own.load("t", version).close()
    damage(copy_of(tmp_path, version) / "index/manifest.json")
    own.load("t", version).close()
    assert artifacts.fetched == 1
    first, *_, last = searches.places
    assert first.folder == last.folder
    assert first != last


def test_an_index_on_a_server_is_asked_at_this_machines_own_address(loader: Loader, tmp_path: Path) -> None:
    version = indexed(tmp_path, {"store": "server", "collection": "t-1"})
    with pytest.raises(MachineError, match="QDRANT_URL"):
        loader.load("t", version)
    workspace = workspace_in(tmp_path)
    here = workspace.settings.model_copy(update={"knowledge": Knowledge(store="http://here:6333")})
    searches: Any = Searches()
    Loader(Workspace(tmp_path, here), Reconcile(), searches).load("t", version).close()
    assert {place.knowledge.store for place in searches.places} == {"http://here:6333"}


def test_a_release_of_another_task_is_refused(loader: Loader, tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match="release of task 't'"):
        loader.load("other", plain(tmp_path))


@pytest.mark.slow
def test_a_real_vllm_answers_behind_the_gateway_from_a_real_index(tmp_path: Path) -> None:
    """Whole, streamed and in the client's own form; what a model of this size says is not judged here."""
    if not (ROOT / PACKAGED_BASE).is_dir():
        pytest.skip("no base model: make setup")
    with writing(tmp_path / "built") as draft, Cache(tmp_path / "cache.sqlite") as cache:
        build_index(PAGES, Knowledge(), load_embedder(PACKAGED), draft, cache, "t")
    version = frozen(
        tmp_path,
        SAID,
        base=ROOT / PACKAGED_BASE,
        # The one answer that it may give, so that the smoke cases are known beforehand.
        spec={"scorer": "exact", "output_schema": {"enum": [yaml.safe_load(SAID)]}},
        plan=Plan(rung="rag", context_tokens=100, constrained=True),
        index=tmp_path / "built",
    )
    with closing(SearchProcess()) as searches, house_in(tmp_path / "house") as house:
        loaded = Loader(workspace_in(tmp_path), Reconcile(), searches).load("t", version)
        try:
            house.router.put("t", Lineup({"champion": loaded.serving}))
            with answering(house) as gate:
                ask_in_all_ways(gate, house)
        finally:
            loaded.close()


def ask_in_all_ways(gate: Gate, house: House) -> None:
    client = gate.openai()
    question: Any = [{"role": "user", "content": "What is the default of state of ufw?"}]
    whole = client.chat.completions.create(model="t", messages=question)
    assert whole.choices[0].message.content == SAID
    assert whole.usage
    assert whole.usage.completion_tokens > 5
    assert whole.model_extra
    assert whole.model_extra["stepladder"]["sources"][0]["page"] == "ufw"

    stream = client.chat.completions.create(model="t", messages=question, stream=True)
    parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert len([part for part in parts if part]) > 3
    assert "".join(parts) == SAID

    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": ["yes", "no"]}}}
    own = client.chat.completions.create(model="t", messages=question, response_format=form)
    assert own.choices[0].message.content in ('"yes"', '"no"')
    assert [event["valid"] for event in gate.records("answered")] == [True, True, None]
