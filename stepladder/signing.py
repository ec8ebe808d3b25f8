"""Ed25519 signatures (RFC 8032) of files: ``<file>.sig`` beside the file, base64; empty where nobody signed.

An empty one is written rather than none, so that a signature can be an output of a stage and goes where the
file goes.

The keys are PEM files outside the project, named by the environment: ``STEPLADDER_SIGNING_KEY`` (private,
to sign) and ``STEPLADDER_VERIFY_KEY`` (public, to verify). Without them nothing is signed or asked for.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder.errors import StepladderError
from stepladder.files import write_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNING_KEY = "STEPLADDER_SIGNING_KEY"
VERIFY_KEY = "STEPLADDER_VERIFY_KEY"


def signature_path(path: Path) -> Path:
    """Where a file's signature stands."""
    return path.with_name(f"{path.name}.sig")


def is_signed(path: Path) -> bool:
    """Whether a file has a signature beside it; not whether that is right."""
    beside = signature_path(path)
    return beside.is_file() and beside.stat().st_size > 0


def sign(path: Path) -> bool:
    """Sign a file where a key is configured; else leave an empty signature.

    Returns:
        Whether it was signed.

    Raises:
        StepladderError: the key cannot be read or is no Ed25519 private key.
    """
    source = os.environ.get(SIGNING_KEY)
    if not source:
        write_text(signature_path(path), "")
        return False
    signature = _private_key(Path(source)).sign(path.read_bytes())
    write_text(signature_path(path), base64.b64encode(signature).decode() + "\n")
    return True


def check_signature(path: Path) -> bool:
    """Check a file against its signature, where a public key is configured.

    Returns:
        Whether a signature was checked.

    Raises:
        StepladderError: a key is configured and the signature is missing or not of this file and key.
    """
    source = os.environ.get(VERIFY_KEY)
    if not source:
        return False
    from cryptography.exceptions import InvalidSignature

    key = _public_key(Path(source))
    beside = signature_path(path)
    if not is_signed(path):
        raise StepladderError(
            "it has no signature, and one is asked for",
            where=str(path),
            remedy=f"make it again with {SIGNING_KEY} set, or unset {VERIFY_KEY}",
        )
    try:
        key.verify(base64.b64decode(beside.read_text(encoding="ascii"), validate=False), path.read_bytes())
    except (InvalidSignature, binascii.Error, UnicodeDecodeError) as error:
        raise StepladderError(
            "the signature does not fit the file: one of them was changed, or another key signed it",
            where=str(path),
            remedy="get the file again from where it was made",
        ) from error
    return True


def check_keys() -> None:
    """Read the keys that are configured.

    Raises:
        StepladderError: one cannot be read or is no Ed25519 key.
    """
    if source := os.environ.get(SIGNING_KEY):
        _private_key(Path(source))
    if source := os.environ.get(VERIFY_KEY):
        _public_key(Path(source))


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _bad_key(path, SIGNING_KEY, "openssl genpkey -algorithm ed25519") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad_key(path, SIGNING_KEY, "openssl genpkey -algorithm ed25519")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _bad_key(path, VERIFY_KEY, "openssl pkey -pubout") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _bad_key(path, VERIFY_KEY, "openssl pkey -pubout")
    return key


def _bad_key(path: Path, variable: str, command: str) -> StepladderError:
    return StepladderError(
        "no Ed25519 key in PEM form can be read from it",
        where=f"{path} ({variable})",
        remedy=f"give the file that `{command}` writes",
    )
