"""Set-up with stand-ins for Python: what was interrupted is made anew, what fails says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.project import ROOT

# The environment's Python: it has pip and uv, and installs whatever it is asked to.
_UV = re.findall(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]
_ENVIRONMENT = f"""#!/bin/sh
case "$*" in "-m uv --version") echo "uv {_UV}";; esac
"""
# The system's Python makes such an environment.
_SYSTEM = """#!/bin/sh
echo "$*" >> made
[ "$1 $2" = "-m venv" ] && rm -rf .venv && mkdir -p .venv/bin && cp environment .venv/bin/python
printf '#!/bin/sh\\necho set up\\n' > .venv/bin/stepladder
chmod +x .venv/bin/*
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "environment").write_text(_ENVIRONMENT)
    write_script(tmp_path / "python", _SYSTEM)
    return tmp_path


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # `make test` hands down variables of its own.
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return subprocess.run(
        ["make", *arguments, "PYTHON=./python"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_environment_that_was_left_half_made_is_made_anew(project: Path) -> None:
    write_script(project / ".venv/bin/python", "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    done = make(project, "setup")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("setup: installing"), "no codes for a terminal where there is none"
    assert done.stdout.endswith("set up\n")
    assert (project / "made").read_text() == "-m venv --clear .venv\n"


def test_one_that_is_whole_is_kept_and_nothing_is_installed_twice(project: Path) -> None:
    assert make(project, "setup").returncode == 0
    said = make(project, "setup").stdout
    assert said == "set up\n"
    assert (project / "made").read_text() == "-m venv --clear .venv\n"


@pytest.mark.parametrize(
    ("system", "environment", "why"),
    [
        ("#!/bin/sh\nexit 1\n", _ENVIRONMENT, "error: .venv could not be made"),
        (_SYSTEM, _ENVIRONMENT + 'case "$*" in *sync*) exit 1;; esac', "dependencies could not be installed"),
    ],
)
def test_what_fails_is_one_sentence_with_what_to_do(
    project: Path, system: str, environment: str, why: str
) -> None:
    write_script(project / "python", system)
    (project / "environment").write_text(environment)
    done = make(project, "setup")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert why in line
    assert line.endswith("run make again")
    assert not list((project / ".venv").glob(".installed-*"))
