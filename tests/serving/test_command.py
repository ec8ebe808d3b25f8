"""``python -m serving keys``, and what the settings refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.__main__ import app
from serving.auth import Keyring, read_keys
from serving.settings import load_serving_settings
from stepladder.errors import StepladderError
from tests.serving.house import ROOT

run = CliRunner()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "serving.yaml").write_text("keys: keys.json\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_key_is_made_listed_and_revoked(project: Path) -> None:
    made = run.invoke(app, ["keys", "create", "my app", "--scope", "chat", "--scope", "feedback"])
    secret = made.stdout.strip()
    assert Keyring(project / "keys.json").admit(secret, ("feedback",)).name == "my app"

    listed = run.invoke(app, ["keys", "list"]).stdout
    assert "chat,feedback  600/min" in listed
    assert secret not in listed

    run.invoke(app, ["keys", "revoke", listed.split()[0]])
    assert read_keys(project / "keys.json") == []


def test_an_unknown_scope_names_the_known(project: Path) -> None:
    failed = run.invoke(app, ["keys", "create", "x", "--scope", "root"])
    assert isinstance(failed.exception, StepladderError)
    assert "chat, feedback, admin" in failed.exception.remedy


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("portt: 1", "portt"),
        ("port: x", "port"),
        ("redact: [{name: a, pattern: '('}]", "regular"),
        ("a: [", "YAML"),
    ],
)
def test_settings_that_are_wrong_are_explained(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "serving.yaml").write_text(text)
    with pytest.raises(StepladderError, match=what):
        load_serving_settings(tmp_path / "serving.yaml")


def test_the_endpoint_for_traces_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")
    assert load_serving_settings(ROOT / "serving.yaml").tracing.endpoint == "http://127.0.0.1:4318/v1/traces"


def test_host_and_port_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPLADDER_GATEWAY_HOST", "0.0.0.0")
    monkeypatch.setenv("STEPLADDER_GATEWAY_PORT", "9090")
    found = load_serving_settings(ROOT / "serving.yaml")
    assert (found.host, found.port) == ("0.0.0.0", 9090)
    monkeypatch.setenv("STEPLADDER_GATEWAY_PORT", "x")
    with pytest.raises(StepladderError, match="port"):
        load_serving_settings(ROOT / "serving.yaml")
