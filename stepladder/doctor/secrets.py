"""The gateway's keys, and the keys that sign verdicts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import yaml

from stepladder.doctor.finding import Finding, fail, ok, warn
from stepladder.errors import StepladderError
from stepladder.files import read_json
from stepladder.signing import SIGNING_KEY, VERIFY_KEY, check_keys

_CREATE = "python -m serving keys create NAME --scope chat --scope feedback"


def check_gateway_keys(root: Path) -> Finding:
    """The file of API keys' hashes, named by ``serving.yaml``, holds one at least."""
    name = "gateway keys"
    settings = root / "serving.yaml"
    try:
        raw = yaml.safe_load(settings.read_text(encoding="utf-8")) or {}
        file = root / raw.get("keys", "var/keys.json")
        keys = read_json(file) if file.is_file() else []
    except (OSError, yaml.YAMLError, AttributeError, StepladderError) as error:
        return fail(
            name, f"cannot be read: {error}".splitlines()[0], "mend serving.yaml or the file that it names"
        )
    if not keys:
        return warn(name, f"none in {file.name}: the gateway refuses everyone", _CREATE)
    if file.stat().st_mode & stat.S_IWOTH:
        return fail(name, f"{file} can be changed by everyone here", f"chmod 600 {file}")
    return ok(name, f"{len(keys)}")


def check_signing_keys() -> Finding:
    """The keys that the environment names can be read, and the private one by its owner only."""
    name = "signing keys"
    named = {
        variable: os.environ[variable] for variable in (SIGNING_KEY, VERIFY_KEY) if os.environ.get(variable)
    }
    try:
        check_keys()
    except StepladderError as error:
        return fail(name, f"{error.where}: {error.what}", error.remedy)
    if SIGNING_KEY in named and Path(named[SIGNING_KEY]).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return fail(name, f"{named[SIGNING_KEY]} can be read by others", f"chmod 600 {named[SIGNING_KEY]}")
    return ok(name, f"{' and '.join(named)} can be read" if named else "none named: verdicts are not signed")
