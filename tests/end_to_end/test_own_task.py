"""A user's own task: a folder and its name in params.yaml, through the whole DAG with a stub engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from stepladder.errors import MAY_PASS
from stepladder.ladder.markdown import EXIT_CODES
from stepladder.signing import SIGNING_KEY, VERIFY_KEY
from tests.end_to_end.project import make_project, read_rows, run, stepladder, write_rows
from tests.stub_server import StubServer, stub_server
from tests.test_signing import write_keys

pytestmark = pytest.mark.slow

SERVICES = ["metrics", "tracing", "logging", "billing", "search", "queue", "cache", "mail", "backup", "login"]
PORTS = {name: str(9100 + number) for number, name in enumerate(SERVICES)}


def question(service: str) -> str:
    return f"Which port does the {service} agent use?"


def answer(body: dict[str, Any]) -> str:
    """Read the port out of the context; without one, guess."""
    asked = body["messages"][-1]["content"]
    service = next(name for name in SERVICES if question(name) in asked)
    said = f"The {service} agent listens on port {PORTS[service]}"
    return PORTS[service] if said in asked else "80"


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    with stub_server(answer) as server:
        yield server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, stub: StubServer, tiny_llama: Path) -> Path:
    folder = make_project(
        tmp_path_factory.mktemp("own") / "project",
        ["runbooks"],
        {
            "models": {"base": str(tiny_llama)},
            "engine": {"url": stub.url},
            "evaluation": {"resamples": 500},
            "sizes": {"cpu": {"cases": None, "dev_rows": 2}},
        },
    )
    task = folder / "tasks" / "runbooks"
    task.mkdir(parents=True)
    (task / "task.yaml").write_text(
        "title: Ports\nscorer: short-answer\nbars: {score: 0.5}\nmargin: 0.05\nmonthly_requests: 1000\n"
        "abstention: Not in the runbooks.\n"
    )
    (task / "prompt.md").write_text("{% if tuned %}Port?{% else %}Answer with the port only.{% endif %}")
    for name in SERVICES:
        page = task / "knowledge" / f"{name}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(f"# {name}\n\n## Port\n\nThe {name} agent listens on port {PORTS[name]}.\n")
    write_rows(
        task / "cases.jsonl",
        [
            {
                "id": f"case-{name}",
                "input": question(name),
                "reference": PORTS[name],
                "evidence": [f"{name}#port"],
                "cluster": name,
            }
            for name in [*SERVICES[:6], *SERVICES[8:]]  # the fewest that show anything
        ],
    )
    write_rows(
        task / "examples.jsonl",
        [
            {"instruction": question(SERVICES[6]), "output": PORTS[SERVICES[6]], "cluster": SERVICES[6]},
            {"prompt": question(SERVICES[7]), "completion": PORTS[SERVICES[7]], "cluster": SERVICES[7]},
            {
                "messages": [
                    {"role": "user", "content": f"{question(SERVICES[7])} Say the number."},
                    {"role": "assistant", "content": PORTS[SERVICES[7]]},
                ],
                "cluster": SERVICES[7],
            },
        ],
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(SIGNING_KEY, str(folder.with_name("key.pem")))
        write_keys(folder.parent, "key")
        stepladder(folder, "climb")
    return folder


def verdict(project: Path) -> dict[str, Any]:
    done = stepladder(project, "verdict", "runbooks", "--json", check=False)
    found = json.loads(done.stdout)
    assert done.returncode == EXIT_CODES[found["decision"]]
    return found


def test_rag_is_promoted_because_knowledge_was_missing(project: Path) -> None:
    made = verdict(project)
    assert (made["decision"], made["rung"]) == ("promote", "rag")
    assert made["rungs"]["prompt"]["score"] == 0
    assert made["rungs"]["rag"]["score"] == 1
    assert made["gaps"]["knowledge"] == 1


def test_the_adapter_is_skipped_with_the_reason(project: Path) -> None:
    assert set(verdict(project)["skipped"]) == {"lora", "lora+rag"}
    assert "meets the bar" in verdict(project)["skipped"]["lora"]


def test_what_a_query_takes_is_waited_and_paid_for_by_the_rung_that_retrieves(project: Path) -> None:
    query_ms = json.loads((project / "build/index/runbooks/upkeep.json").read_text())["query_ms"]
    assert query_ms > 0
    for rung, waited in (("prompt", 0.0), ("rag", query_ms)):
        said = json.loads((project / f"build/base/runbooks/{rung}.outcomes.json").read_text())["outcomes"]
        assert {one["retrieval_ms"] for one in said} == {waited}
        parts = verdict(project)["costs"][rung]["parts"]
        assert (parts["retrieval"] > 0) == (waited > 0)


def test_the_report_lies_where_it_is_said_to(project: Path) -> None:
    assert "runbooks" in (project / "build/runbooks/report.html").read_text()


def test_the_release_answers_with_its_sources(project: Path, stub: StubServer) -> None:
    said = json.loads(stepladder(project, "ask", "runbooks", question("mail"), "--json").stdout)
    assert said["answer"] == PORTS["mail"]
    assert said["sources"][0]["page"] == "mail"


def test_ask_sends_the_very_messages_that_evaluation_sent(project: Path, stub: StubServer) -> None:
    asked = len(stub.seen)
    known = read_rows(project / "build/prepared/runbooks/cases.jsonl")[0]["input"]
    said = json.loads(stepladder(project, "ask", "runbooks", known, "--json").stdout)
    assert len(stub.seen) == asked, "the response cache holds it: messages, model and decoding are the same"
    outcomes = json.loads((project / "build/base/runbooks/rag.outcomes.json").read_text())["outcomes"]
    evaluated = next(one for one in outcomes if one["input"] == known)
    assert said["answer"] == evaluated["response"]["text"]
    assert [source["id"] for source in said["sources"]] == evaluated["retrieved"]


def test_the_verdict_can_be_computed_again_from_what_was_said(project: Path) -> None:
    done = stepladder(project, "verify", "runbooks", "--json")
    assert json.loads(done.stdout)["digest"] == verdict(project)["digest"]


def test_the_signature_goes_where_the_verdict_goes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [project / "build/runbooks" / name for name in ("verdict.json", "verdict.json.sig")]
    signature = made[1].read_bytes()
    for path in made:
        path.unlink()
    run(project, "-m", "dvc", "checkout", "-q", *(str(path.relative_to(project)) for path in made))
    monkeypatch.setenv(VERIFY_KEY, str(project.with_name("key.pub")))
    assert json.loads(stepladder(project, "verify", "runbooks", "--json").stdout)["signed"]
    (frozen,) = project.glob(".stepladder/releases/*/verdict.json.sig")
    assert frozen.read_bytes() == signature
    assert json.loads(stepladder(project, "verify", str(frozen.with_suffix("")), "--json").stdout)["signed"]


def test_an_edited_verdict_is_refused_with_what_differs(project: Path, tmp_path: Path) -> None:
    edited = {**verdict(project), "decision": "keep"}
    (tmp_path / "verdict.json").write_text(json.dumps(edited))
    done = stepladder(project, "verify", str(tmp_path / "verdict.json"), check=False)
    assert done.returncode == 1
    assert "decision" in done.stderr


def test_an_edited_score_is_refused_with_its_case(project: Path) -> None:
    path = project / "build/base/runbooks/prompt.outcomes.json"
    original = path.read_text()
    outcomes = json.loads(original)
    outcomes["outcomes"][0] |= {"score": 1.0, "exact": True}
    path.write_text(json.dumps(outcomes))
    done = stepladder(project, "verify", "runbooks", check=False)
    path.write_text(original)
    assert done.returncode == 1
    assert outcomes["outcomes"][0]["id"] in done.stderr


def test_a_release_is_compared_by_what_it_said_in_evaluation(project: Path) -> None:
    done = stepladder(project, "compare", "runbooks@1", "runbooks@challenger", "--json")
    found = json.loads(done.stdout)
    assert found["cases"] == verdict(project)["rungs"]["rag"]["n"]
    assert (found["comparison"]["difference"], found["gained"], found["lost"]) == (0, [], [])
    missing = stepladder(project, "compare", "runbooks@1", "runbooks@99", check=False)
    assert "no release '99'" in missing.stderr


def test_climbing_again_runs_no_stage_and_asks_nothing(project: Path, stub: StubServer) -> None:
    asked = len(stub.seen)
    before = (project / "build/runbooks/verdict.json").read_bytes()
    done = stepladder(project, "climb")
    assert "Running stage" not in done.stderr
    assert len(stub.seen) == asked
    assert (project / "build/runbooks/verdict.json").read_bytes() == before


def test_dvc_alone_finds_nothing_to_do_after_a_climb(project: Path) -> None:
    lock = (project / "dvc.lock").read_bytes()
    assert "up to date" in run(project, "-m", "dvc", "repro").stdout
    assert (project / "dvc.lock").read_bytes() == lock


def test_other_files_of_the_base_model_are_seen(project: Path, tiny_llama: Path) -> None:
    before = (project / "build/runbooks/verdict.json").read_bytes()
    other = tiny_llama / "other.json"
    other.write_text("{}")
    try:
        done = stepladder(project, "climb", check=False)
    finally:
        other.unlink()
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tiny_llama}: the base model is not the one of the last verdict")
    assert "climb --force" in done.stderr
    assert (project / "build/runbooks/verdict.json").read_bytes() == before


def test_the_verdict_is_told_though_it_cannot_be_registered(project: Path) -> None:
    parameters = project / "params.yaml"
    original = parameters.read_text()
    parameters.write_text(original.replace("sqlite:///mlflow.db", "foo://bar"))
    done = stepladder(project, "climb", check=False)
    parameters.write_text(original)
    assert done.returncode == MAY_PASS
    assert "runbooks: bar 0.50" in done.stdout
    assert "report: " in done.stdout
    assert "next:" not in done.stdout
    assert done.stderr.count("error: ") == 1
    assert "MLflow's store cannot be used" in done.stderr


def test_a_changed_prompt_asks_again_but_neither_embeds_nor_trains(project: Path, stub: StubServer) -> None:
    prompt = project / "tasks/runbooks/prompt.md"
    original = prompt.read_text()
    asked = len(stub.seen)
    prompt.write_text(original.replace("port only", "port number only"))
    done = stepladder(project, "climb")
    prompt.write_text(original)
    assert len(stub.seen) > asked
    assert "Running stage 'index@runbooks'" not in done.stderr
    assert "Running stage 'finetune@runbooks'" not in done.stderr


def test_one_edited_prompt_asks_only_its_tasks_cases_again(project: Path, stub: StubServer) -> None:
    parameters, prompt = project / "params.yaml", project / "tasks/runbooks/prompt.md"
    original = {path: path.read_text() for path in (parameters, prompt)}
    other = project / "tasks/greetings"
    other.mkdir()
    (other / "task.yaml").write_text(
        "title: Greet\nscorer: issue-f1\nbars: {score: 0.5}\nmargin: 0.05\nmonthly_requests: 10\n"
        "output_schema: {type: object, properties: {cost: {type: array}}}\n"
    )
    (other / "prompt.md").write_text("Greet.")
    greet = [f"Greet the {name} team for {question(name)}" for name in SERVICES]
    write_rows(
        other / "cases.jsonl",
        [
            {"id": f"c{n}", "input": one, "reference": {"cost": []}, "cluster": f"c{n}"}
            for n, one in enumerate(greet[:4])
        ],
    )
    write_rows(other / "examples.jsonl", [{"prompt": one, "completion": '{"cost":[]}'} for one in greet[4:8]])
    parameters.write_text(
        yaml.safe_dump({**yaml.safe_load(original[parameters]), "tasks": ["runbooks", "greetings"]})
    )
    for stage in ("validate", "prepare", "index"):
        stepladder(project, "stage", stage, "greetings")

    def asked_after(change: Path | None) -> dict[str, int]:
        before = len(stub.seen)
        if change:
            change.write_text(change.read_text() + " Be brief.")
        said = stepladder(project, "stage", "evaluate").stderr
        texts = [body["messages"][-1]["content"] for body in stub.seen[before:]]
        greeted = sum("Greet the" in text for text in texts)
        told = f"(runbooks {len(texts) - greeted}, greetings {greeted})"
        assert f"{len(texts)} responses asked of the engine {told}" in said
        return {"greetings": greeted, "runbooks": len(texts) - greeted}

    asked_after(None)
    assert asked_after(None) == {"greetings": 0, "runbooks": 0}
    after = asked_after(prompt)
    for path, text in original.items():
        path.write_text(text)
    shutil.rmtree(other)
    assert after["greetings"] == 0
    assert after["runbooks"] > 0


def test_a_leak_stops_the_run_names_the_rows_and_keeps_the_last_verdict(project: Path) -> None:
    examples = project / "tasks/runbooks/examples.jsonl"
    original = examples.read_text()
    before = (project / "build/runbooks/verdict.json").read_bytes()
    write_rows(
        examples, [*read_rows(examples), {"prompt": question("metrics"), "completion": "1", "cluster": "x"}]
    )
    done = stepladder(project, "climb", check=False)
    examples.write_text(original)
    assert done.returncode == 1
    assert "case-metrics" in done.stderr
    assert done.stderr.lower().count("error: ") == 1
    assert (project / "build/runbooks/verdict.json").read_bytes() == before


def change_parameters(project: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = project / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    change(parameters)
    path.write_text(yaml.safe_dump(parameters, sort_keys=False))


def forget_the_prompt(project: Path) -> None:
    (project / "tasks/runbooks/prompt.md").unlink()


def mistype_a_parameter(project: Path) -> None:
    change_parameters(project, lambda given: given["tuning"].update(learning_rat=1))


def empty_the_knowledge(project: Path) -> None:
    for page in (project / "tasks/runbooks/knowledge").iterdir():
        page.write_text(" ")


def name_evidence_that_is_not_there(project: Path) -> None:
    path = project / "tasks/runbooks/cases.jsonl"
    write_rows(path, [{**row, "evidence": ["metrics#gone"]} for row in read_rows(path)])


def name_a_model_that_is_not_there(project: Path) -> None:
    change_parameters(project, lambda given: given["models"].update(base="models/none"))


def want_a_port_in_use(project: Path) -> None:
    change_parameters(
        project, lambda given: given["engine"].update(url=None, port=urlsplit(given["engine"]["url"]).port)
    )


@pytest.mark.parametrize(
    ("break_it", "where", "what", "remedy"),
    [
        (forget_the_prompt, "tasks/runbooks/prompt.md", "the task has no prompt.md", "add it"),
        (mistype_a_parameter, "params.yaml", "did you mean `learning_rate`?", "docs/03-parameters.md"),
        (empty_the_knowledge, "tasks/runbooks/knowledge", "holds no text", "add Markdown files"),
        (name_evidence_that_is_not_there, "cases.jsonl:1", "no such page or section: metrics#gone", "mend"),
        (name_a_model_that_is_not_there, "models/none", "no base model here", "stepladder setup"),
        (want_a_port_in_use, "engine.port", "is in use", "choose another port"),
    ],
)
def test_bad_input_gets_one_clear_error_and_leaves_the_last_verdict(
    project: Path,
    tmp_path: Path,
    break_it: Callable[[Path], None],
    where: str,
    what: str,
    remedy: str,
) -> None:
    shutil.copytree(project / "tasks", tmp_path / "tasks")
    shutil.copy2(project / "params.yaml", tmp_path)
    before = (project / "build/runbooks/verdict.json").read_bytes()
    break_it(project)
    try:
        done = stepladder(project, "climb", check=False)
    finally:
        shutil.rmtree(project / "tasks")
        shutil.copytree(tmp_path / "tasks", project / "tasks")
        shutil.copy2(tmp_path / "params.yaml", project)
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("error: ") :]
    assert told.lower().count("error: ") == 1
    assert where in told
    assert what in told
    assert remedy in told.partition("What to do: ")[2]
    assert (project / "build/runbooks/verdict.json").read_bytes() == before


def test_the_runs_are_in_mlflow(project: Path) -> None:
    code = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db');"
        "runs = mlflow.search_runs(experiment_names=['stepladder'], output_format='list');"
        "print(sorted({run.info.run_name for run in runs}));"
        "v = mlflow.MlflowClient().get_model_version_by_alias('stepladder-runbooks', 'challenger');"
        "climb = next(run for run in runs if run.info.run_name == 'climb runbooks');"
        "print({'hardware', 'engine.max_model_len', 'tuning.clip'} <= set(climb.data.params));"
        "metrics = {run.info.run_name: set(run.data.metrics) for run in runs};"
        "print({'retrieval.recall_at_3.low', 'gap.knowledge'} <= metrics['climb runbooks']);"
        "print({'slice.all.low', 'dev.zero-shot', 'cost_per_1000'} <= metrics['runbooks rag']);"
        "client = mlflow.MlflowClient();"
        "files = [one.path for run in runs for one in client.list_artifacts(run.info.run_id)];"
        "print('verdict.json.sig' in files);"
        "print(v.tags['rung'])"
    )
    said = run(project, "-c", code).stdout
    assert said.count("True") == 4
    assert "['climb runbooks', 'runbooks prompt', 'runbooks rag']" in said
    assert said.split()[-1] == "rag"


def test_a_champion_is_kept_where_nothing_is_shown_to_be_better(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    stepladder(project, "climb")
    monkeypatch.chdir(project)
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    release = client.get_model_version_by_alias("stepladder-runbooks", "challenger")
    client.set_registered_model_alias("stepladder-runbooks", "champion", release.version)
    done = stepladder(project, "climb")
    assert "the champion of runbooks is another than at the verdict" in done.stderr
    assert "which serves already" in done.stdout
    assert "which serves already" in (project / "build/runbooks/report.html").read_text()
    assert "Running stage" not in stepladder(project, "climb").stderr
    made = verdict(project)
    assert (made["decision"], made["rung"], made["champion_release"]) == ("keep", "rag", str(release.version))
    stepladder(project, "verify", "runbooks")


def test_a_champion_is_weighed_on_fresh_cases_once_it_was_asked_them(project: Path) -> None:
    cases = project / "tasks/runbooks/cases.jsonl"
    write_rows(cases, [{**row, "id": f"new-{row['id']}", "input": f"{row['input']} Tell me."}
                       for row in read_rows(cases)])  # fmt: skip
    stepladder(project, "climb")
    made = verdict(project)
    assert made["decision"] == "keep"
    assert "`stepladder evaluate runbooks@champion` asks it these" in made["sentence"]
    done = stepladder(project, "evaluate", "runbooks@champion")
    assert "score 1.000 on the 8 present cases" in done.stdout
    command = (
        next(line for line in done.stdout.splitlines() if "dvc repro" in line).removeprefix("next:").split()
    )
    run(project, "-m", *command)
    stepladder(project, "climb")
    made = verdict(project)
    assert (made["decision"], made["comparisons"][-1]["b"]) == ("keep", "champion")
    assert "not weighed" not in " ".join(made["warnings"])
    stepladder(project, "verify", "runbooks")
    (kept,) = (project / ".stepladder/evaluated/runbooks").iterdir()
    honest = kept.read_text()
    kept.write_text(honest.replace('"text": "9100"', '"text": "9999"'))
    edited = stepladder(project, "verify", "runbooks", check=False)
    assert edited.returncode == 1
    assert "digests.champion_responses" in edited.stderr
    kept.unlink()
    gone = stepladder(project, "verify", "runbooks", check=False)
    assert "`stepladder evaluate runbooks@" in gone.stderr
