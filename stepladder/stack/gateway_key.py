"""The key by which the watch asks the stack's gateway: made by the gateway itself, read by its owner only."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml

from stepladder.errors import StepladderError
from stepladder.stack.place import Place

_MODULE = "serving"  # the library does not import it
_NAME = "watch"
VARIABLE = "STEPLADDER_API_KEY"


def gateway_key(place: Place) -> str | None:
    """The key: that of the environment, the one made before, or a new one; None where no gateway is set up.

    Raises:
        StepladderError: the gateway's command could not make one.
    """
    if given := os.environ.get(VARIABLE):
        return given
    settings = place.root / "serving.yaml"
    if not settings.is_file():
        return None
    path = place.state / "watch.key"
    if path.is_file() and _is_known(path.read_text(encoding="ascii"), settings):
        return path.read_text(encoding="ascii")
    key = _make(place)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(key, encoding="ascii")
    return key


def _is_known(key: str, settings: Path) -> bool:
    """Whether the gateway's file still holds the key: it may have been revoked."""
    raw = yaml.safe_load(settings.read_text(encoding="utf-8")) or {}
    keys = settings.parent / str(raw.get("keys", "var/keys.json"))
    return keys.is_file() and hashlib.sha256(key.encode()).hexdigest() in keys.read_text(encoding="utf-8")


def _make(place: Place) -> str:
    command = [sys.executable, "-m", _MODULE, "keys", "create", _NAME, "--scope", "chat"]
    done = subprocess.run(command, cwd=place.root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepladderError(
            f"no key for the watch could be made: {done.stderr.strip()[-1000:]}",
            where=str(place.root / "serving.yaml"),
            remedy="mend what it names, or set STEPLADDER_API_KEY to a key of the gateway",
        )
    return done.stdout.strip()
