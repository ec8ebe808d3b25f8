"""All checks together, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.doctor import run
from stepladder.doctor.finding import Finding, fail, ok, warn
from stepladder.settings import Settings
from tests.end_to_end.project import ROOT


def test_a_check_that_cannot_be_carried_out_fails_alone(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Finding:
        raise OSError("no such thing")

    checks = [("first", lambda: ok("first", "well")), ("second", broken)]
    monkeypatch.setattr(run, "_checks", lambda *_: iter(checks))
    first, second = run.examine(tmp_path, settings)
    assert (first.state, second.state) == ("ok", "fail")
    assert "OSError: no such thing" in second.found


@pytest.mark.parametrize(
    ("last", "code"),
    [(ok("b", "fine"), 0), (warn("b", "so so", "do"), 0), (fail("b", "[broken]", "mend"), 1)],
)
def test_the_command_ends_with_1_where_something_fails(
    last: Finding, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(run, "examine", lambda *_: [ok("a", "fine"), last])
    plain = CliRunner().invoke(app, ["doctor"])
    assert plain.exit_code == code
    assert f"b  {last.state}" in plain.stdout.replace("     ", " ")
    assert last.found in plain.stdout
    told = CliRunner().invoke(app, ["doctor", "--json"])
    assert told.exit_code == code
    assert json.loads(told.stdout) == {
        "ok": code == 0,
        "checks": [ok("a", "fine").model_dump(), last.model_dump()],
    }
