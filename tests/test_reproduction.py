"""Whatever fails in `dvc repro` is told once: by the stage, or in one sentence of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.errors import MAY_PASS
from stepladder.reproduction import reproduce
from tests.end_to_end.project import make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("dvc") / "project", ["t"], {})


def told(project: Path, dag: str, capfd: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """The exit code and what stands on standard error."""
    (project / "dvc.yaml").write_text(dag)
    with pytest.raises(SystemExit) as ended:
        reproduce(project)
    said = capfd.readouterr()
    assert said.out == ""
    return ended.value.code, said.err


def errors(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.lower().startswith("error: ")]


def stage(command: str) -> str:
    return f'stages: {{speak: {{cmd: "{command}", outs: [made]}}}}'


def test_a_stage_that_failed_has_said_why(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, said = told(project, stage(f"echo 'error: it is down' >&2; exit {MAY_PASS}"), capfd)
    assert code == MAY_PASS
    assert "Running stage 'speak'" in said
    assert errors(said) == ["error: it is down"]


def test_a_stage_that_was_killed_could_not(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, said = told(project, stage("kill -9 $$"), capfd)
    assert code == MAY_PASS
    assert errors(said) == ["error: dvc repro: failed to reproduce 'speak': it was killed by signal 9"]


@pytest.mark.parametrize(
    ("dag", "why"),
    [("stages: {speak: {comd: echo}}", "dvc.yaml"), (stage("exit 0"), "output 'made' does not exist")],
)
def test_what_dvc_itself_refuses_is_one_sentence(
    project: Path, capfd: pytest.CaptureFixture[str], dag: str, why: str
) -> None:
    code, said = told(project, dag, capfd)
    assert code == 1
    (line,) = errors(said)
    assert line.startswith("error: dvc repro: ")
    assert why in line
    assert "What to do: mend what it names" in said
