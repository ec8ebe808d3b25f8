"""The wheels that hold the documentation: downloaded once with pip, read where they lie, never installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stepladder.console import say
from stepladder.errors import StepladderError


def fetch_wheels(requirements: Path, folder: Path) -> dict[str, Path]:
    """Wheels by package name, for every ``name==version`` line; pip is asked only for what is missing.

    Raises:
        StepladderError: the requirements are missing or unpinned, or pip cannot download them.
    """
    pins = _read_pins(requirements)
    wheels = _find(pins, folder)
    if len(wheels) < len(pins):
        wanted = ", ".join(f"{name} {pins[name]}" for name in sorted(set(pins) - set(wheels)))
        say(f"documentation: downloading the wheels of {wanted} (up to 60 MB, once)")
        _download(requirements, folder)
        wheels = _find(pins, folder)
    missing = sorted(set(pins) - set(wheels))
    if missing:
        raise StepladderError(
            f"pip gave no wheel for {', '.join(missing)}",
            where=str(folder),
            remedy=f"pin versions in {requirements} that have wheels, or put the wheels there by hand",
        )
    return wheels


def _read_pins(requirements: Path) -> dict[str, str]:
    try:
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise StepladderError(
            "no list of the packages to read the documentation from",
            where=str(requirements.resolve()),
            remedy="run from the project's root",
        ) from error
    wanted = [text for line in lines if (text := line.partition("#")[0].strip())]
    unpinned = [line for line in wanted if line.count("==") != 1]
    if unpinned:
        raise StepladderError(
            f"not of the form name==version: {unpinned[0]}", where=str(requirements), remedy="pin it"
        )
    pairs = [line.split("==") for line in wanted]
    return {name.strip(): version.strip() for name, version in pairs}


def _find(pins: dict[str, str], folder: Path) -> dict[str, Path]:
    found = {
        name: sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
        for name, version in pins.items()
    }
    return {name: paths[0] for name, paths in found.items() if paths}


def _download(requirements: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "-r", str(requirements), "-d", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise StepladderError(
            f"pip could not download the documentation's wheels: {last}",
            where=str(requirements),
            remedy="check the network (or pip's index settings) and run the same command again;"
            f" or put the wheels into {folder} by hand",
        )
