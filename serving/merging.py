"""Merge an adapter in a process of its own: what it imports and computes would hold up requests.

``python -m serving.merging BASE ADAPTER OUT DTYPE``
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from stepladder.engine import die_with_parent
from stepladder.errors import StepladderError
from stepladder.failures import first_line
from stepladder.tuning.merge import merge

_LOOK_S = 0.5


def merge_apart(base: str, adapter: Path, out: Path, dtype: str, on_wait: Callable[[], None]) -> None:
    """See ``stepladder.tuning.merge.merge``.

    Args:
        on_wait: called at once and then about twice a second; what it raises ends the merge.

    Raises:
        StepladderError: it went wrong; where it was killed, memory has likely run out.
    """
    command = [sys.executable, "-m", "serving.merging", base, str(adapter), str(out), dtype]
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - one call that takes no lock
        )
        try:
            on_wait()  # at least once, however soon it ends
            while (code := _ended(process)) is None:
                on_wait()
        finally:
            process.kill()
            process.wait()
        if code:
            told.seek(0)
            lines = told.read().decode(errors="replace").strip().splitlines()
            why = lines[-1][:300] if lines else f"it ended with code {code}"
            raise StepladderError(f"the adapter could not be merged: {why}", where=str(adapter))


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_LOOK_S)
    except subprocess.TimeoutExpired:
        return None


def main() -> None:
    """Merge; what goes wrong is said in one line."""
    base, adapter, out, dtype = sys.argv[1:]
    try:
        merge(base, Path(adapter), Path(out), dtype)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {first_line(error)}")


if __name__ == "__main__":
    main()
