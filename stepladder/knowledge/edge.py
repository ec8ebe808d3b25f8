"""The embedded index: Qdrant Edge, one folder, one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.index import (
    BATCH,
    DENSE,
    GRAPH_FROM,
    SPARSE,
    IndexedChunk,
    Retrieved,
    Vector,
    payload,
    point_id,
    ranked,
)
from stepladder.knowledge.sparse import SparseVector
