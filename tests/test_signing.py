"""A signature fits one file and one key; without a configured key nothing is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from stepladder.errors import StepladderError
from stepladder.signing import SIGNING_KEY, VERIFY_KEY, check_signature, sign, signature_path


def write_keys(folder: Path, name: str) -> tuple[str, str]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), str(public)


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    private, public = write_keys(tmp_path, "key")
    monkeypatch.setenv(SIGNING_KEY, private)
    monkeypatch.setenv(VERIFY_KEY, public)
    path = tmp_path / "verdict.json"
    path.write_text('{"decision": "none"}')
    assert sign(path)
    return path


def test_what_was_signed_verifies(signed: Path) -> None:
    assert check_signature(signed)


def test_an_edited_file_is_refused(signed: Path) -> None:
    signed.write_text('{"decision": "promote"}')
    with pytest.raises(StepladderError, match="does not fit"):
        check_signature(signed)


@pytest.mark.parametrize("text", ["\n", "not base64 ä", "YWJj"])
def test_a_damaged_signature_is_refused(signed: Path, text: str) -> None:
    signature_path(signed).write_text(text, encoding="utf-8")
    with pytest.raises(StepladderError, match="does not fit"):
        check_signature(signed)


def test_another_key_is_refused(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERIFY_KEY, write_keys(tmp_path, "other")[1])
    with pytest.raises(StepladderError, match="does not fit"):
        check_signature(signed)


def test_a_missing_signature_is_refused_where_a_key_asks_for_one(signed: Path) -> None:
    signature_path(signed).write_text("")
    with pytest.raises(StepladderError, match="no signature"):
        check_signature(signed)
    signature_path(signed).unlink()
    with pytest.raises(StepladderError, match="no signature"):
        check_signature(signed)


def test_without_keys_nothing_is_signed_or_checked_and_an_old_signature_goes(
    signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SIGNING_KEY)
    monkeypatch.delenv(VERIFY_KEY)
    assert not sign(signed)
    assert signature_path(signed).read_bytes() == b"", "an output of a stage must exist"
    assert not check_signature(signed)


@pytest.mark.parametrize("content", [None, b"nothing", "rsa"])
def test_a_key_that_is_none_is_named(
    signed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | str | None
) -> None:
    path = tmp_path / "bad.pem"
    if content == "rsa":
        key = generate_private_key(65537, 2048)
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if isinstance(content, bytes):
        path.write_bytes(content)
    monkeypatch.setenv(SIGNING_KEY, str(path))
    monkeypatch.setenv(VERIFY_KEY, str(path))
    for action in (sign, check_signature):
        with pytest.raises(StepladderError, match=r"bad\.pem"):
            action(signed)
