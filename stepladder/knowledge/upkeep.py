"""What an index takes: to be built anew, whatever a cache spared this build, and to be asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stepladder.knowledge.embed import Embedder
from stepladder.knowledge.manifest import Manifest
from stepladder.rates import known_rate, remember_rate
from stepladder.tasks import Strict

UPKEEP = "upkeep.json"  # beside the index
_ENOUGH = 64  # chunks from which a rate is worth its name
_QUERIES = 50  # questions that the time of a query is the mean of


class Upkeep(Strict):
    """A full rebuild: ``chunks`` embedded at ``chunks_per_s`` on ``hardware``, then ``index_s`` to write.

    ``query_ms``: mean milliseconds of one query, embedding included; 0 where that was not measured.
    """

    chunks: int
    chunks_per_s: float
    index_s: float
    hardware: str
    query_ms: float = 0.0

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


def mean_query_ms(retrieve: Callable[[str], object], questions: Sequence[str]) -> float:
    """Mean milliseconds of one query, asked one at a time as the gateway does.

    Args:
        retrieve: embeds a question and searches.
        questions: to measure with; the first one is asked twice, since it may load the embedder.
    """
    asked = questions[:_QUERIES]
    if not asked:
        return 0.0
    retrieve(asked[0])
    started = time.perf_counter()
    for question in asked:
        retrieve(question)
    return round(1000 * (time.perf_counter() - started) / len(asked), 3)


def _measured(embedder: Embedder, texts: Sequence[str]) -> float:
    embedder.encode(texts[:1])  # loads the model, which is not part of the rate
    started = time.perf_counter()
    embedder.encode(texts)
    return len(texts) / (time.perf_counter() - started)
