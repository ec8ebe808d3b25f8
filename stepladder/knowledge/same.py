"""Whether an index that was built again is the one that there was."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.edge import open_edge
from stepladder.knowledge.manifest import MANIFEST, read_manifest


def same_index(before: Path, folder: Path) -> bool:
    """Whether ``before`` holds, whole, the index that lies in ``folder``: only their timings may differ."""
    if not (before / MANIFEST).is_file():
        return False
    try:
        old, new = read_manifest(before), read_manifest(folder)
        if old.model_copy(update={"timings": new.timings}) != new:
            return False
        return new.collection is not None or _chunks(before) == _chunks(folder)
    except Exception:  # it is damaged, or of another form: the binding raises bare Exception
        return False


def _chunks(folder: Path) -> list[Chunk]:
    with closing(open_edge(folder / "edge")) as index:
        return index.chunks()
