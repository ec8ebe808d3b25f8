"""What `stepladder.files.writing` leaves behind when its process is killed."""

from __future__ import annotations

import shutil
from pathlib import Path


def sweep(path: Path) -> None:
    """Delete scratch folders that were made to write ``path``; call it only where nobody else writes it."""
    for scratch in path.parent.glob(f".{path.name}.????????"):
        shutil.rmtree(scratch, ignore_errors=True)
