"""A proxy in the environment gets no request that is meant for this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.request import getproxies

import httpx
import pytest
import requests

from stepladder.proxies import keep_this_machine_off_proxies
from tests.end_to_end.project import ROOT
from tests.stub_server import stub_server

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
HERE = "127.0.0.1,localhost,::1"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such variable at first; what a test leaves in the environment is taken back."""
    for name in VARIABLES:
        for one in (name, name.lower()):
            monkeypatch.setenv(one, "")  # what was there is known then, and comes back at the end
            monkeypatch.delenv(one)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with stub_server(lambda _: "hello") as stub:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{stub.url}/models")
        keep_this_machine_off_proxies()
        assert httpx.get(f"{stub.url}/models").is_success
        assert httpx.get(f"{stub.url.replace('127.0.0.1', 'localhost')}/models").is_success
        assert requests.get(f"{stub.url}/models", timeout=5).ok
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == HERE


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"NO_PROXY": "intern.example"}, f"intern.example,{HERE}"),
        ({"no_proxy": "intern.example, localhost"}, "intern.example,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": HERE, "no_proxy": HERE}, HERE),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_what_stands_there_stays_and_nothing_is_added_twice(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        keep_this_machine_off_proxies()
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == getproxies()["no"] == after


def test_variables_of_their_own_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "upper.example")
    monkeypatch.setenv("no_proxy", "lower.example")
    keep_this_machine_off_proxies()
    assert os.environ["NO_PROXY"] == f"upper.example,{HERE}"
    assert os.environ["no_proxy"] == f"lower.example,{HERE}"


def test_without_a_proxy_nothing_is_set() -> None:
    keep_this_machine_off_proxies()
    assert not {"NO_PROXY", "no_proxy"} & set(os.environ)


@pytest.mark.parametrize("entry", ["stepladder.cli", "serving.__main__", "flows.setup"])
def test_every_command_sees_to_it(entry: str) -> None:
    code = (
        "import contextlib, json, os, sys\n"
        f"from {entry} import main\n"
        "with contextlib.suppress(SystemExit):\n    main()\n"
        "print(json.dumps(os.environ.get('NO_PROXY')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        cwd=ROOT,
        env={**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "PREFECT_API_URL": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == HERE
