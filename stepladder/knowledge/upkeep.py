"""What it takes to build an index anew: the cost of keeping it, whatever a cache spared this build."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from stepladder.knowledge.embed import Embedder
from stepladder.knowledge.manifest import Manifest
from stepladder.rates import known_rate, remember_rate
from stepladder.tasks import Strict

_ENOUGH = 64  # chunks from which a rate is worth its name


class Upkeep(Strict):
    """A full rebuild: ``chunks`` embedded at ``chunks_per_s`` on ``hardware``, then ``index_s`` to write."""

    chunks: int
    chunks_per_s: float
    index_s: float
    hardware: str

    @property
    def rebuild_s(self) -> float:
        """Seconds of a full rebuild with nothing cached."""
        return self.chunks / self.chunks_per_s + self.index_s


def upkeep_of(
    manifest: Manifest, embedder: Embedder, texts: Sequence[str], rates: Path, hardware: str
) -> Upkeep:
    """Upkeep of an index that was just built.

    The rate is that of this build where it embedded enough chunks to tell, else the last one measured with
    this embedder on this hardware, else it is measured now on a sample.

    Args:
        manifest: of the build.
        embedder: what embeds.
        texts: chunks to measure with; at least one.
        rates: the file of measured rates.
        hardware: what this machine is.
    """
    timings, kind = manifest.timings, f"embedding {embedder.digest} on {hardware}"
    if timings.embedded >= _ENOUGH and timings.embed_s > 0:
        rate = timings.embedded / timings.embed_s
        remember_rate(rates, kind, rate)
    else:
        rate = known_rate(rates, kind) or _measured(embedder, texts[:_ENOUGH])
    return Upkeep(chunks=manifest.chunks, chunks_per_s=rate, index_s=timings.index_s, hardware=hardware)


def _measured(embedder: Embedder, texts: Sequence[str]) -> float:
    embedder.encode(texts[:1])  # loads the model, which is not part of the rate
    started = time.perf_counter()
    embedder.encode(texts)
    return len(texts) / (time.perf_counter() - started)
