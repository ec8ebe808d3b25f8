"""Keys of the gateway and of signatures."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from serving.auth import create_key
from stepladder.doctor import secrets
from stepladder.signing import SIGNING_KEY, VERIFY_KEY


def test_a_gateway_without_keys_warns_and_with_a_broken_file_fails(tmp_path: Path) -> None:
    assert secrets.check_gateway_keys(tmp_path).state == "fail"
    (tmp_path / "serving.yaml").write_text("keys: keys.json\n")
    found = secrets.check_gateway_keys(tmp_path)
    assert (found.state, "keys create" in found.remedy) == ("warn", True)
    file = tmp_path / "keys.json"
    create_key(file, "app", frozenset({"chat"}), 60)
    assert secrets.check_gateway_keys(tmp_path).found == "1"
    file.chmod(0o666)
    assert secrets.check_gateway_keys(tmp_path).remedy == f"chmod 600 {file}"
    file.write_text("[")
    assert secrets.check_gateway_keys(tmp_path).state == "fail"


def test_a_signing_key_that_others_can_read_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    monkeypatch.delenv(VERIFY_KEY, raising=False)
    assert secrets.check_signing_keys().state == "ok"
    key = tmp_path / "key.pem"
    key.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    monkeypatch.setenv(SIGNING_KEY, str(key))
    key.chmod(0o644)
    assert secrets.check_signing_keys().remedy == f"chmod 600 {key}"
    key.chmod(0o600)
    assert secrets.check_signing_keys().state == "ok"
    key.write_text("no key")
    assert secrets.check_signing_keys().state == "fail"
    key.unlink()
    assert secrets.check_signing_keys().state == "fail"
