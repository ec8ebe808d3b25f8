"""The command: fast help, plain errors, exit codes, results on standard output."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stepladder.cli import app, main
from stepladder.ladder.advise import NOT_MEASURED, Situation
from stepladder.ladder.form import Verdict
from stepladder.ladder.markdown import summary
from stepladder.ladder.verdict import decide
from stepladder.models import PACKAGED_BASE
from stepladder.samples.build import SampleReport
from stepladder.settings import Settings
from stepladder.stages.workspace import save
from tests.end_to_end.project import ROOT, make_project
from tests.ladder.conftest import SCORES, make_evidence, make_outcomes

HEAVY = ("torch", "vllm", "great_expectations", "sentence_transformers", "mlflow", "transformers", "pandas")


def stepladder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepladder", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def test_help_lists_the_commands_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom stepladder.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for command in ("setup", "sample", "stage", "climb", "ask", "verdict", "ingest", "promote", "serve"):
        assert command in said.stdout
    assert "heavy: []" in said.stdout


def test_an_error_is_one_message_with_its_remedy_and_exit_code_1(tmp_path: Path) -> None:
    done = stepladder(tmp_path, "verdict", "module-qa")
    assert done.returncode == 1
    assert "params.yaml: file not found" in done.stderr
    assert "What to do: run from the project's root" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_mistyped_parameter_is_named_with_the_nearest_known_one(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("learning_rate:", "learning_rat:"))
    done = stepladder(project, "verdict", "module-qa")
    assert "did you mean `learning_rate`?" in done.stderr


def test_a_verdict_that_is_not_there_says_how_to_make_it(project: Path) -> None:
    write_task(project / "tasks/module-qa")
    done = stepladder(project, "verdict", "module-qa")
    assert done.returncode == 1
    assert "dvc repro" in done.stderr


@pytest.mark.parametrize(
    ("decision", "code", "scores"),
    [
        ("promote", 0, {"lora+rag": 0.83}),
        ("keep", 3, {"lora+rag": 0.83}),
        ("inconclusive", 4, {"lora+rag": 0.72}),
        ("none", 5, {"lora+rag": 0.3}),
    ],
)
def test_the_exit_code_tells_the_decision_of_a_stored_verdict(
    project: Path, decision: str, code: int, scores: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = {rung: make_outcomes(rung, score) for rung, score in {**SCORES, **scores}.items()}
    champion = {"champion": outcomes["lora+rag"]} if decision == "keep" else {}
    made = decide(make_evidence(outcomes, **champion))
    assert made.decision == decision
    write_task(project / "tasks/module-qa")
    save(project / "build/module-qa/verdict.json", made)
    monkeypatch.chdir(project)
    for form in ([], ["--json"], ["--github"]):
        done = CliRunner().invoke(app, ["verdict", "module-qa", *form])
        assert done.exit_code == code, form
        said = done.stdout
        if form == ["--json"]:
            assert Verdict.model_validate_json(said) == made
        elif form == ["--github"]:
            assert said == summary(made)
            assert said.startswith(
                f"### Stepladder: module-qa: {decision if decision != 'none' else 'none good'}"
            )
        else:
            assert made.sentence in said


ADVISED = ["--no-good-enough", "--prompt-tried", "--facts-missing", "--documents", "--no-wrong-with-facts"]


def test_advise_answers_flags_without_a_terminal(project: Path) -> None:
    known = [*ADVISED, "--monthly-requests", "100000", "--cases", "20"]
    said = json.loads(stepladder(project, "advise", "runbooks", *known, "--json").stdout)
    assert (said["step"], said["note"]) == ("rag", NOT_MEASURED)
    assert said["measure"][-1] == "stepladder climb"
    missing = stepladder(project, "advise", "runbooks", *ADVISED)
    assert missing.returncode == 1
    assert "--monthly-requests is not given, and there is no terminal to ask at" in missing.stderr


def test_advise_asks_at_a_terminal_what_still_matters(project: Path) -> None:
    """Not good enough, a prompt was tried, no facts are missing; a mistyped number is asked for again."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"y\nn\ny\nmany\n1500\n100000\n300\n")
        done = subprocess.run(
            [sys.executable, "-m", "stepladder", "advise", "runbooks", "--no-good-enough"],
            cwd=project,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    asked = [
        field.description for field in Situation.model_fields.values() if field.description in done.stdout
    ]
    skipped = {"good_enough", "documents", "too_slow_or_dear"}
    assert asked == [f.description for name, f in Situation.model_fields.items() if name not in skipped]
    assert "a whole number is asked for, 0 or more" in done.stdout + done.stderr
    assert "  - 1,500 examples are enough to train on\n" in done.stdout
    assert NOT_MEASURED in done.stdout
    assert done.stdout.endswith("stepladder plan runbooks\n  stepladder climb\n")


def write_task(folder: Path) -> None:
    """The least that is a task."""
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(
        "title: t\nscorer: exact\nbars: {score: 0.5}\nmargin: 0.1\nmonthly_requests: 1\n"
    )
    (folder / "prompt.md").write_text("Answer.")
    (folder / "cases.jsonl").write_text("")
    (folder / "examples.jsonl").write_text("")


def test_a_climb_of_a_task_that_is_not_there_says_so_before_dvc_does(project: Path) -> None:
    write_task(project / "tasks/module-qa")
    done = stepladder(project, "climb")
    assert done.returncode == 1
    assert done.stderr.startswith("error: tasks/terraform-review: no such task folder")
    assert "dvc" not in done.stderr.lower()


def test_wrong_usage_has_exit_code_2(project: Path) -> None:
    assert stepladder(project, "climb", "--nonsense").returncode == 2


def test_setup_tells_what_it_makes_and_only_what_it_makes(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    made: list[Path] = []

    def convert() -> None:
        made.append(PACKAGED_BASE)
        PACKAGED_BASE.mkdir(parents=True)
        (PACKAGED_BASE / "config.json").touch()

    monkeypatch.chdir(project)
    monkeypatch.setattr("stepladder.models.convert_packaged_base", convert)
    monkeypatch.setattr("stepladder.samples.build.SAMPLES", {})
    first, second = (CliRunner().invoke(app, ["setup"]).stderr for _ in range(2))
    assert first.startswith(f"base model: preparing {PACKAGED_BASE} (half a minute, once)\n")
    assert second == "base model: already there\n"
    assert made == [PACKAGED_BASE]


def test_setup_builds_a_sample_anew_whose_build_was_cut_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"tasks": ["terraform-review"]}
    params["models"]["base"] = "elsewhere"
    params["sample"]["terraform-review"] = {"cases": 10, "examples": 20}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    first, second = (CliRunner().invoke(app, ["setup"]).stderr for _ in range(2))
    assert "built in" in first
    assert "already there" in second
    marker = Path("tasks/terraform-review/.sample.json")
    marker.write_text(json.dumps({"made": json.loads(marker.read_text())["made"]}))
    assert "built in" in CliRunner().invoke(app, ["setup"]).stderr


def test_an_unknown_sample_names_the_known_ones(project: Path) -> None:
    done = stepladder(project, "sample", "poetry")
    assert done.returncode == 1
    assert "module-qa" in done.stderr


@pytest.mark.parametrize(("flags", "every"), [([], False), (["--all"], True)])
def test_a_sample_of_every_module_is_built_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, project: Path, flags: list[str], every: bool
) -> None:
    built: list[tuple[str, bool]] = []

    def build(name: str, settings: Settings, *, force: bool) -> SampleReport:
        built.append((name, settings.sample.module_qa.all))
        return SampleReport(name=name, pages=1, cases=1, examples=1, seconds=1, reused=force)

    monkeypatch.chdir(project)
    monkeypatch.setattr("stepladder.samples.build.build_sample", build)
    assert CliRunner().invoke(app, ["sample", "module-qa", *flags]).exit_code == 0
    assert built == [("module-qa", every)]


def test_ctrl_c_in_a_command_ends_with_one_line_and_code_130(
    monkeypatch: pytest.MonkeyPatch, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(project)
    monkeypatch.setattr("stepladder.stages.run_stage", interrupt)
    monkeypatch.setattr(sys, "argv", ["stepladder", "stage", "evaluate"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    said = capsys.readouterr()
    assert said.err == "interrupted; run the same command again to go on, finished work is kept\n"
    assert said.out == ""


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_ctrl_c_in_a_climb_lets_the_stage_end_first(tmp_path: Path, shell: str) -> None:
    """The stage takes its time to end; it, DVC and the climb all get the signal, as from a terminal."""
    project = make_project(tmp_path, ["t"], {})
    write_task(project / "tasks/t")
    (project / "dvc.yaml").write_text("stages: {slow: {cmd: exec python slow.py, outs: [never]}}")
    (project / "slow.py").write_text(
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "print('running', file=sys.stderr, flush=True)\n"
        "signal.sigwait({signal.SIGINT})\n"
        "print('stage ended', file=sys.stderr, flush=True)\n"
        "sys.exit(130)\n"
    )
    climb = subprocess.Popen(
        [sys.executable, "-m", "stepladder", "climb"],
        cwd=project,
        env={**os.environ, "SHELL": shutil.which(shell) or pytest.skip(f"no {shell} here")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests in the background of a shell inherit that the signal is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert climb.stderr is not None
    while climb.stderr.readline() != "running\n":
        assert climb.poll() is None
    os.killpg(climb.pid, signal.SIGINT)
    said = climb.stderr.read().splitlines()
    assert climb.wait(30) == 130
    assert sorted(said[:2]) == ["ending the stage", "stage ended"]
    assert said[2:] == ["interrupted; run the same command again to go on, finished work is kept"]


def test_a_full_disk_in_a_command_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(*_: object, **__: object) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.chdir(project)
    monkeypatch.setattr("stepladder.climb.climb", fill)
    monkeypatch.setattr(sys, "argv", ["stepladder", "climb"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "error: the disk is full" in capsys.readouterr().err
