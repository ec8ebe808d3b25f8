"""Keys: hashed, scoped, limited, revoked at once; nothing but health and the empty page is open."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.auth import Keyring, create_key, read_keys, revoke_key
from serving.errors import ApiError
from stepladder.errors import StepladderError
from tests.serving.house import Gate

CHAT = frozenset({"chat"})


def test_the_file_holds_no_key_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    secret = create_key(path, "app", CHAT, 60)

    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert Keyring(path).admit(secret, ("chat",)).name == "app"


@pytest.mark.parametrize(
    ("secret", "scopes", "status"),
    [(None, ("chat",), 401), ("sl-wrong", ("chat",), 401), ("right", ("admin",), 403)],
)
def test_what_is_not_granted_is_refused(
    tmp_path: Path, secret: str | None, scopes: tuple, status: int
) -> None:
    path = tmp_path / "keys.json"
    made = create_key(path, "app", CHAT, 60)
    with pytest.raises(ApiError) as caught:
        Keyring(path).admit(made if secret == "right" else secret, scopes)
    assert caught.value.status == status


def test_a_rate_is_kept_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("serving.auth.time.monotonic", lambda: now[0])
    path = tmp_path / "keys.json"
    secret = create_key(path, "app", CHAT, 6)
    keyring = Keyring(path)
    for _ in range(6):
        keyring.admit(secret, ("chat",))
    with pytest.raises(ApiError) as caught:
        keyring.admit(secret, ("chat",))
    assert (caught.value.status, caught.value.retry_after_s) == (429, 10)
    now[0] += 10
    keyring.admit(secret, ("chat",))


def test_a_revoked_key_is_refused_and_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("serving.auth.time.monotonic", lambda: now[0])
    path = tmp_path / "keys.json"
    first, second = (create_key(path, name, CHAT, 60) for name in "ab")
    keyring = Keyring(path)
    keyring.admit(first, ("chat",))
    revoke_key(path, read_keys(path)[0].id)
    now[0] += 1.1
    keyring.admit(second, ("chat",))
    with pytest.raises(ApiError):
        keyring.admit(first, ("chat",))


def test_a_key_file_that_is_damaged_while_serving_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("serving.auth.time.monotonic", lambda: now[0])
    path = tmp_path / "keys.json"
    secret = create_key(path, "app", CHAT, 60)
    keyring = Keyring(path)
    keyring.admit(secret, ("chat",))
    path.write_text("{")
    now[0] += 2
    keyring.admit(secret, ("chat",))


def test_keys_that_are_made_and_revoked_at_the_same_time_are_all_heeded(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    for number in range(20):
        create_key(path, f"old {number}", CHAT, 60)
    old = [key.id for key in read_keys(path)]
    with ThreadPoolExecutor(8) as threads:
        made = [threads.submit(create_key, path, f"new {number}", CHAT, 60) for number in range(20)]
        gone = [threads.submit(revoke_key, path, key_id) for key_id in old]
        for one in [*made, *gone]:
            one.result()
    assert sorted(key.name for key in read_keys(path)) == sorted(f"new {number}" for number in range(20))


def test_a_key_that_is_not_there_cannot_be_revoked(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="no key"):
        revoke_key(tmp_path / "keys.json", "x")


@pytest.mark.parametrize(
    ("path", "granted"),
    [
        ("/v1/chat/completions", {"chat", "admin"}),
        ("/v1/models", {"chat", "admin"}),
        ("/v1/models/plain", {"chat", "admin"}),
        ("/v1/feedback", {"feedback", "admin"}),
        ("/metrics", {"admin"}),
        ("/openapi.json", {"chat", "feedback", "admin"}),
        ("/nowhere", {"chat", "feedback", "admin"}),
        ("/healthz", {None, "wrong", "chat", "feedback", "admin"}),
        ("/readyz", {None, "wrong", "chat", "feedback", "admin"}),
        ("/", {None, "wrong", "chat", "feedback", "admin"}),
    ],
)
def test_each_path_is_for_its_scopes(gate: Gate, path: str, granted: set[str | None]) -> None:
    for key in (None, "wrong", "chat", "feedback", "admin"):
        with gate.http(key) as client:
            answer = client.get(path)
        if key in granted:
            assert answer.status_code not in (401, 403), key
        else:
            assert answer.status_code == (403 if key in gate.house.keys else 401), key
            assert answer.json()["error"]["code"] in ("missing_api_key", "invalid_api_key", "missing_scope")


def test_a_refused_request_is_not_read(gate: Gate) -> None:
    with gate.http(None) as client:
        answer = client.post("/v1/chat/completions", content=b"{" * 2_000_000)
    assert answer.status_code == 401


def test_the_log_at_info_holds_no_key_prompt_answer_or_document(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        with gate.http() as client:
            question = [{"role": "user", "content": "SECRETQUESTION state of ufw"}]
            client.post("/v1/chat/completions?q=SECRETQUERY", json={"model": "docs", "messages": question})
            client.post("/v1/chat/completions", content=b"SECRETBODY")
        with gate.http("sl-SECRETKEY") as client:
            client.get("/v1/models")

    ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    assert "POST /v1/chat/completions 200" in ours
    for secret in ("SECRET", "octal", *gate.house.keys.values()):
        assert secret not in ours
