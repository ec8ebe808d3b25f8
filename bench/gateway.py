"""What the gateway adds to asking the engine directly, with the same final messages, in one run.

The engine is a stub of constant latency. Client, gateway (with its search) and stub are processes on one
machine, so on few cores they take from each other; rounds of both ways alternate. Concurrency is a closed
loop: each of so many clients asks again as soon as it has its answer. The overhead is the difference of the
medians; the processor time is the gateway's own a request, which a busy machine changes least.

    python bench/gateway.py [--chunks 20000] [--latency-ms 500] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import aiohttp
import numpy as np
import psutil

CONCURRENCY = (1, 32)
GOAL_MS = {"plain": 5.0, "docs": 25.0}
EMBEDDER = "packaged:all-MiniLM-L6-v2"


def main() -> None:
    options = _options()
    if options.serve:
        _serve(Path(options.serve), options.engine)
        return
    with tempfile.TemporaryDirectory() as scratch, _stub(options.latency_ms) as engine:
        say = (lambda _: None) if options.json else print
        say(f"building an index of {options.chunks} chunks")
        _build(Path(scratch), options.chunks)
        with _gateway(Path(scratch), engine) as gateway:
            results = asyncio.run(_measure(gateway, engine, options.rounds))
    if options.json:
        print(json.dumps({"latency_ms": options.latency_ms, "chunks": options.chunks, "results": results}))
        return
    print(f"stub engine of {options.latency_ms:.0f} ms, {options.chunks} chunks; p50 in ms")
    for one in results:
        print(
            f"{one['task']:<6} concurrency {one['concurrency']:>2}   direct {one['direct_p50_ms']:>7.1f}"
            f"   gateway {one['gateway_p50_ms']:>7.1f}   overhead {one['overhead_ms']:>6.1f}"
            f"   (goal {one['goal_ms']:.0f})   ratio {one['ratio']:.3f}"
            f"   p99 {one['gateway_p99_ms']:>7.1f}   processor {one['cpu_ms']:>5.1f} a request"
        )


@dataclass(frozen=True)
class _Gateway:
    url: str
    key: str
    process: psutil.Process

    def cpu_s(self) -> float:
        both = [self.process, *self.process.children()]
        return sum(times.user + times.system for times in (one.cpu_times() for one in both))


async def _measure(gateway: _Gateway, engine: str, rounds: int) -> list[dict[str, Any]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        return [
            await _compare(session, gateway, engine, task, concurrency, rounds)
            for task in GOAL_MS
            for concurrency in CONCURRENCY
        ]


async def _compare(
    session: aiohttp.ClientSession,
    gateway: _Gateway,
    engine: str,
    task: str,
    concurrency: int,
    rounds: int,
) -> dict[str, Any]:
    gate = f"{gateway.url}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {gateway.key}"}
    cpu_s = 0.0
    times: dict[str, list[float]] = {"direct": [], "gateway": []}
    each = 6 if concurrency > 1 else 20
    for number in range(rounds + 1):  # the first warms up
        asked = [_question(task, f"{number} {client}") for client in range(each * concurrency)]
        before = gateway.cpu_s()
        through = await _closed_loop(session, gate, headers, asked, concurrency)
        spent = gateway.cpu_s() - before
        async with session.get(f"{engine.removesuffix('/v1')}/seen") as seen:
            bodies = await seen.json()
        direct = await _closed_loop(
            session, f"{engine}/chat/completions", {}, (bodies * len(asked))[: len(asked)], concurrency
        )
        if number:
            cpu_s += spent
            times["gateway"] += through
            times["direct"] += direct
    middle = {name: float(np.percentile(values, 50)) for name, values in times.items()}
    return {
        "task": task,
        "concurrency": concurrency,
        "requests": len(times["gateway"]),
        "direct_p50_ms": round(middle["direct"], 2),
        "gateway_p50_ms": round(middle["gateway"], 2),
        "gateway_p99_ms": round(float(np.percentile(times["gateway"], 99)), 2),
        "overhead_ms": round(middle["gateway"] - middle["direct"], 2),
        "cpu_ms": round(1000 * cpu_s / len(times["gateway"]), 2),
        "ratio": round(middle["gateway"] / middle["direct"], 3),
        "goal_ms": GOAL_MS[task],
    }


def _question(task: str, salt: str) -> dict[str, Any]:
    """No two alike: nothing that is remembered can help."""
    words = _text(np.random.default_rng(crc32(salt.encode())), 12)
    return {"model": task, "messages": [{"role": "user", "content": f"What is {words} of {salt}?"}]}


async def _closed_loop(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str], bodies: list[Any], concurrency: int
) -> list[float]:
    """Milliseconds of each request; the clients start one after the other, spread over half a second."""
    left = iter(bodies)
    times: list[float] = []

    async def client(number: int) -> None:
        await asyncio.sleep(0.5 * number / concurrency)
        for body in left:
            started = time.perf_counter()
            async with session.post(url, json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
            times.append(1000 * (time.perf_counter() - started))

    await asyncio.gather(*map(client, range(concurrency)))
    return times


@contextmanager
def _stub(latency_ms: float) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.stub_engine", "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def _gateway(scratch: Path, engine: str) -> Iterator[_Gateway]:
    command = [sys.executable, __file__, "--serve", str(scratch), "--engine", engine]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            url, key = process.stdout.readline().split()
            yield _Gateway(url, key, psutil.Process(process.pid))
        finally:
            process.kill()


def _build(scratch: Path, count: int) -> None:
    """An index of random unit vectors and Zipf texts that claims to be the embedder's: only speed counts."""
    from stepladder.files import write_json
    from stepladder.knowledge.chunk import Chunk
    from stepladder.knowledge.edge import create_edge, seal_edge
    from stepladder.knowledge.embed import load_embedder
    from stepladder.knowledge.index import IndexedChunk
    from stepladder.knowledge.manifest import EmbedderRecord, Manifest, Parameters, Timings
    from stepladder.knowledge.sparse import K1, B, average_length, document_vector

    embedder = load_embedder(EMBEDDER)
    random = np.random.default_rng(0)
    texts = [_text(random, 50) for _ in range(count)]
    dense = random.standard_normal((count, embedder.dimension)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    average = average_length(texts)
    index = create_edge(scratch / "index" / "edge", embedder.dimension)
    index.upsert(
        [
            IndexedChunk(
                Chunk(id=f"page-{i}#", page=f"page-{i}", heading=(), text=text),
                dense[i],
                document_vector(text, average),
            )
            for i, text in enumerate(texts)
        ]
    )
    index.optimize()
    index.close()
    seal_edge(scratch / "index" / "edge")
    manifest = Manifest(
        task="docs",
        version="v",
        store="edge",
        pages=count,
        chunks=count,
        embedder=EmbedderRecord(name=EMBEDDER, digest=embedder.model_digest, dimension=embedder.dimension),
        parameters=Parameters(chunk_tokens=96, bm25_k1=K1, bm25_b=B, average_terms=average),
        timings=Timings(embedded=0, embed_s=0, index_s=0),
    )
    write_json(scratch / "index" / "manifest.json", manifest.model_dump(mode="json"))


def _text(random: np.random.Generator, words: int) -> str:
    return " ".join(f"w{number}" for number in np.minimum(random.zipf(1.3, words), 30_000))


def _serve(scratch: Path, engine: str) -> None:
    """The gateway itself: two tasks, with and without retrieval."""
    import socket

    import uvicorn

    from serving.app import create_app
    from serving.auth import create_key
    from serving.retrieval import BatchedRetrieval
    from serving.router import Lineup, Router
    from serving.search import IndexPlace, SearchProcess
    from serving.settings import ServingSettings, load_serving_settings
    from stepladder.settings import Knowledge

    shipped = load_serving_settings(Path(__file__).parents[1] / "serving.yaml").model_dump()
    shipped |= {"keys": scratch / "keys.json", "inbox": scratch / "inbox"}
    shipped["records"]["path"] = scratch / "records.sqlite"
    settings = ServingSettings.model_validate(shipped)
    key = create_key(settings.keys, "bench", frozenset({"chat"}), 10_000_000)
    place = IndexPlace(folder=scratch / "index", knowledge=Knowledge(), embedder=EMBEDDER)
    process = SearchProcess()
    asyncio.run(process.search(place, ["warm up"]))
    router = Router()
    retrieval = BatchedRetrieval(partial(process.search, place))
    router.put("plain", Lineup({"champion": _serving(scratch, "plain", "prompt", engine, None)}))
    router.put("docs", Lineup({"champion": _serving(scratch, "docs", "rag", engine, retrieval)}))
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", key, flush=True)
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings, router), access_log=False, log_level="warning")
    )
    server.run([listener])


def _serving(scratch: Path, name: str, rung: Any, engine: str, retrieval: Any) -> Any:
    from serving.router import Serving
    from stepladder.engine import RunningEngine
    from stepladder.prompting.compose import Plan
    from stepladder.releases import Registered, Release
    from stepladder.settings import Knowledge
    from stepladder.tasks import Bars, Task, TaskSpec

    spec = TaskSpec(title=name, scorer="exact", bars=Bars(score=0.5), margin=0.1, monthly_requests=1)
    release = Release(
        task=name,
        plan=Plan(rung=rung, context_tokens=300),
        base="base",
        base_digest="b",
        embedder=EMBEDDER,
        knowledge=Knowledge(),
        task_digest="t",
        prompt_digest="p",
        index_version="v",
        adapter_digest=None,
        verdict_digest="v",
    )
    registered = Registered(release=release, version="1", folder=scratch)
    prompt = "Answer the question{% if retrieval %} from the context only{% endif %}, with the value only."
    return Serving(registered, Task(scratch / name, spec, prompt), RunningEngine(engine, "stub"), retrieval)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--latency-ms", type=float, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
