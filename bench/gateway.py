"""What the gateway adds to asking the engine directly, with the same final messages, in one run.

The engine is a stub of constant latency. Client, gateway (with its search) and stub are processes on one
machine, so on few cores they take from each other; rounds of both ways alternate. Concurrency is a closed
loop: each of so many clients asks again as soon as it has its answer. The overhead is the difference of the
medians; the processor time is the gateway's own a request, which a busy machine changes least.

With ``--engine`` it is a real one, at a URL or started here with the packaged base model, and the figures are
those of the whole: the overhead drowns in what the engine takes. Each question is asked once before, so that
both ways find the engine's prefix cache alike.

    python bench/gateway.py [--engine URL|start] [--chunks 20000] [--latency-ms 500] [--rounds 3] [--json]
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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import aiohttp
import numpy as np
import psutil

CONCURRENCY = (1, 32)
BODIES = "bodies.jsonl"
GOAL_MS = {"plain": 5.0, "docs": 25.0}
EMBEDDER = "packaged:all-MiniLM-L6-v2"


def main() -> None:
    options = _options()
    if options.serve:
        _serve(Path(options.serve), options.engine, options.model)
        return
    say = (lambda _: None) if options.json else print
    real = options.engine is not None
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        engine = stack.enter_context(
            _real(options.engine, Path(scratch)) if real else _stub(options.latency_ms)
        )
        say(f"building an index of {options.chunks} chunks")
        _build(Path(scratch), options.chunks)
        gateway = stack.enter_context(_gateway(Path(scratch), engine))
        results = asyncio.run(_measure(gateway, engine, options.rounds, real=real))
    if options.json:
        latency_ms = None if real else options.latency_ms
        print(json.dumps({"latency_ms": latency_ms, "chunks": options.chunks, "results": results}))
        return
    what = f"{engine.model} at {engine.url}" if real else f"stub engine of {options.latency_ms:.0f} ms"
    print(f"{what}, {options.chunks} chunks; p50 in ms")
    for one in results:
        overhead = "" if real else f"   overhead {one['overhead_ms']:>6.1f}   (goal {one['goal_ms']:.0f})"
        print(
            f"{one['task']:<6} concurrency {one['concurrency']:>2}   direct {one['direct_p50_ms']:>7.1f}"
            f"   gateway {one['gateway_p50_ms']:>7.1f}{overhead}   ratio {one['ratio']:.3f}"
            f"   p99 {one['direct_p99_ms']:>7.1f} and {one['gateway_p99_ms']:>7.1f}"
            f"   processor {one['cpu_ms']:>5.1f} a request"
        )


@dataclass(frozen=True)
class _Engine:
    url: str
    model: str


@dataclass(frozen=True)
class _Gateway:
    url: str
    key: str
    process: psutil.Process
    bodies: Path

    def last_bodies(self, count: int) -> list[Any]:
        """What it sent to the engine last."""
        return [json.loads(line) for line in self.bodies.read_text().splitlines()[-count:]]

    def cpu_s(self) -> float:
        both = [self.process, *self.process.children()]
        return sum(times.user + times.system for times in (one.cpu_times() for one in both))


async def _measure(gateway: _Gateway, engine: _Engine, rounds: int, *, real: bool) -> list[dict[str, Any]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        return [
            await _compare(session, gateway, engine, task, concurrency, rounds, real=real)
            for task in GOAL_MS
            for concurrency in CONCURRENCY
        ]


async def _compare(
    session: aiohttp.ClientSession,
    gateway: _Gateway,
    engine: _Engine,
    task: str,
    concurrency: int,
    rounds: int,
    *,
    real: bool,
) -> dict[str, Any]:
    gate = f"{gateway.url}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {gateway.key}"}
    cpu_s = 0.0
    times: dict[str, list[float]] = {"direct": [], "gateway": []}
    each = (2 if concurrency > 1 else 5) if real else (6 if concurrency > 1 else 20)
    for number in range(rounds + 1):  # the first warms up
        asked = [_question(task, f"{number} {client}") for client in range(each * concurrency)]
        if real:
            await _closed_loop(session, gate, headers, asked, concurrency)
        before = gateway.cpu_s()
        through = await _closed_loop(session, gate, headers, asked, concurrency)
        spent = gateway.cpu_s() - before
        bodies = gateway.last_bodies(len(asked))
        direct = await _closed_loop(session, f"{engine.url}/chat/completions", {}, bodies, concurrency)
        if number:
            cpu_s += spent
            times["gateway"] += through
            times["direct"] += direct
    middle, late = (
        {name: float(np.percentile(values, share)) for name, values in times.items()} for share in (50, 99)
    )
    return {
        "task": task,
        "concurrency": concurrency,
        "requests": len(times["gateway"]),
        "direct_p50_ms": round(middle["direct"], 2),
        "direct_p99_ms": round(late["direct"], 2),
        "gateway_p50_ms": round(middle["gateway"], 2),
        "gateway_p99_ms": round(late["gateway"], 2),
        "overhead_ms": None if real else round(middle["gateway"] - middle["direct"], 2),
        "cpu_ms": round(1000 * cpu_s / len(times["gateway"]), 2),
        "ratio": round(middle["gateway"] / middle["direct"], 3),
        "goal_ms": None if real else GOAL_MS[task],
    }


def _question(task: str, salt: str) -> dict[str, Any]:
    """No two alike: nothing that is remembered can help."""
    words = _text(np.random.default_rng(crc32(salt.encode())), 12)
    message = {"role": "user", "content": f"What is {words} of {salt}?"}
    return {"model": task, "messages": [message], "max_tokens": 16}


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
def _real(where: str, scratch: Path) -> Iterator[_Engine]:
    from stepladder.engine import engine
    from stepladder.models import PACKAGED_BASE
    from stepladder.settings import Engine

    settings = Engine(url=None if where == "start" else where)
    with engine(str(PACKAGED_BASE), settings, scratch / "logs") as running:
        yield _Engine(running.url, running.model)


@contextmanager
def _stub(latency_ms: float) -> Iterator[_Engine]:
    command = [sys.executable, "-m", "tests.stub_engine", "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield _Engine(process.stdout.readline().strip(), "stub")
        finally:
            process.kill()


@contextmanager
def _gateway(scratch: Path, engine: _Engine) -> Iterator[_Gateway]:
    command = [sys.executable, __file__, "--serve", str(scratch), "--engine", engine.url]
    command += ["--model", engine.model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            url, key = process.stdout.readline().split()
            yield _Gateway(url, key, psutil.Process(process.pid), scratch / BODIES)
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


def _keep_bodies(path: Path) -> None:
    """Write down what the engine is sent."""
    from serving import exchange

    compose, file = exchange.engine_request, path.open("w", buffering=1)

    def kept(*request: Any) -> Any:
        body, sources = compose(*request)
        file.write(f"{json.dumps(body)}\n")
        return body, sources

    exchange.engine_request = kept


def _serve(scratch: Path, url: str, model: str) -> None:
    """The gateway itself: two tasks, with and without retrieval."""
    import socket

    import uvicorn

    from serving.app import create_app
    from serving.auth import create_key
    from serving.retrieval import BatchedRetrieval
    from serving.router import Lineup, Router
    from serving.search import IndexPlace, SearchProcess
    from serving.settings import ServingSettings, load_serving_settings
    from stepladder.engine import RunningEngine
    from stepladder.settings import Knowledge

    _keep_bodies(scratch / BODIES)
    engine = RunningEngine(url, model)
    shipped = load_serving_settings(Path(__file__).parents[1] / "serving.yaml").model_dump()
    shipped |= {"keys": scratch / "keys.json", "inbox": str(scratch / "inbox")}
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


def _serving(scratch: Path, name: str, rung: Any, engine: Any, retrieval: Any) -> Any:
    from serving.router import Serving
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
    return Serving(registered, Task(scratch / name, spec, prompt), engine, retrieval)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--latency-ms", type=float, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--engine", help="a real engine's URL, or start: the figures of the whole")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
