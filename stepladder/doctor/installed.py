"""Python, the locked dependencies, and what makes the engine fast."""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder.doctor.finding import Finding, fail, ok, warn
from stepladder.hardware import preferred_dtype
from stepladder.settings import Settings

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PYTHON = (3, 11)
_SHOWN = 5


def check_python(found: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """The minor version that everything is locked for."""
    said = ".".join(map(str, found))
    if found == _PYTHON:
        return ok("Python", said)
    return fail("Python", said, "make setup PYTHON=/path/to/python3.11")


def check_dependencies(lock: Path) -> Finding:
    """Whether what the lock file names is installed, in these versions."""
    from packaging.requirements import Requirement

    if not lock.is_file():
        return fail("dependencies", f"no lock file {lock}", "run from the project's root, or `make lock`")
    lines = (line.strip() for line in lock.read_text(encoding="utf-8").splitlines())
    locked = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    wanted = [one for one in locked if one.marker is None or one.marker.evaluate()]
    differing = [told for one in wanted if (told := _difference(one))]
    if differing:
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        return fail("dependencies", f"not as locked: {', '.join(differing[:_SHOWN])}{more}", "make setup")
    return ok("dependencies", f"{len(wanted)} packages as in {lock}")


def _difference(wanted: Requirement) -> str:
    try:
        there = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is missing"
    if wanted.specifier.contains(there, prereleases=True):
        return ""
    return f"{wanted.name} {there} ({wanted.specifier})"


def check_processor(settings: Settings) -> Finding:
    """Whether the number format that the engine is told to use is one that the processor multiplies."""
    best, told = preferred_dtype(), settings.engine.dtype
    if told == "bfloat16" and best == "float32":
        return warn(
            "processor",
            "engine.dtype is bfloat16, which this processor only emulates: a hundred times slower",
            "set engine.dtype to auto in params.yaml",
        )
    chosen = best if told == "auto" else told
    return ok(
        "processor", f"computes in {chosen}" + ("" if best == "bfloat16" else " (no AMX, no AVX512-BF16)")
    )


def check_openmp(prefix: Path | None = None) -> Finding:
    """Intel's OpenMP, which the engine preloads where it is."""
    if ((prefix or Path(sysconfig.get_paths()["data"])) / "lib/libiomp5.so").is_file():
        return ok("OpenMP", "libiomp5, preloaded by the engine")
    return warn("OpenMP", "no libiomp5: the engine is a tenth slower on a CPU", "make setup")
