"""A gateway over a stub engine: releases made by hand, a real index, a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import uvicorn

from serving.app import create_app
from serving.auth import create_key
from serving.connections import connection_options
from serving.gateway import Gateway
from serving.retrieval import BatchedRetrieval, Search
from serving.router import Lineup, Passage, Router, Serving
from serving.settings import ServingSettings, load_serving_settings
from stepladder.cache import Cache
from stepladder.engine import RunningEngine
from stepladder.files import write_json, writing
from stepladder.knowledge.build import build_index
from stepladder.knowledge.retrieve import Retriever, open_retriever
from stepladder.prompting.compose import Plan
from stepladder.releases import Registered, Release
from stepladder.settings import Knowledge
from stepladder.tasks import Bars, Task, TaskSpec
from tests.knowledge.conftest import WordEmbedder
from tests.stub_engine import Says, StubEngine, stub_engine

ROOT = Path(__file__).parents[2]
ABSTENTION = "Not in the documents."
PAGES = {
    "ufw": "# ufw\n\n## Options\n\n### state\n\nThe default of state is enabled.\n\n### rule\n\nAllow it.",
    "copy": "# copy\n\n## Options\n\n### mode\n\nThe mode is an octal number.",
}


def release_of(task: str, **changes: Any) -> Release:
    plan = Plan(
        rung=changes.pop("rung", "prompt"), context_tokens=100, constrained=changes.pop("constrained", False)
    )
    fields: dict[str, Any] = {
        "task": task,
        "plan": plan,
        "base": "base",
        "base_digest": "b",
        "embedder": "words",
        "knowledge": Knowledge(),
        "task_digest": "t",
        "prompt_digest": "p",
        "index_version": None,
        "adapter_digest": None,
        "verdict_digest": "v",
    }
    return Release(**{**fields, **changes})


def task_of(name: str, folder: Path, prompt: str = "Be brief.", **spec: Any) -> Task:
    fields = {"title": name.title(), "scorer": "exact", "bars": Bars(score=0.5), "margin": 0.1}
    return Task(folder / name / "task", TaskSpec(**{**fields, "monthly_requests": 1, **spec}), prompt)


@dataclass
class House:
    """Everything around a gateway under test."""

    folder: Path
    engine: StubEngine
    retriever: Retriever
    settings: ServingSettings
    router: Router
    keys: dict[str, str]

    def serving(
        self, task: Task, version: str = "1", retrieval: BatchedRetrieval | None = None, **changes: Any
    ) -> Serving:
        name = task.folder.parent.name
        folder = self.folder / "releases" / name / version
        release = release_of(name, **changes)
        write_json(folder / "release.json", release.model_dump(mode="json"))
        registered = Registered(release=release, version=version, folder=folder)
        return Serving(registered, task, RunningEngine(self.engine.url, "stub"), retrieval)


@dataclass
class Gate:
    """A gateway that answers on a port, and ways to ask it."""

    url: str
    house: House
    gateway: Gateway

    def http(self, key: str | None = "chat") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.house.keys.get(key, key)}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def openai(self, key: str = "chat", **options: Any) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.house.keys.get(key, key), max_retries=0, **options
        )

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The recorded events, after all that is under way is written."""
        with ThreadPoolExecutor(1) as thread:  # a browser's driver has a loop running in this one
            thread.submit(lambda: asyncio.run(self.gateway.store.committed())).result()
        return read_records(self.house.settings.records.path, kind)


def read_records(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT kind, interaction, task, body FROM events ORDER BY seq").fetchall()
    found = [{"kind": row[0], "interaction": row[1], "task": row[2], **json.loads(row[3])} for row in rows]
    return [event for event in found if kind in (None, event["kind"])]


def wait_until(true: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@contextmanager
def answering(house: House, **options: Any) -> Iterator[Gate]:
    """Run the gateway in a thread, on a socket that is bound before the thread starts."""
    app = create_app(house.settings, house.router, **options)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            **connection_options(house.settings.limits),
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Gate(f"http://127.0.0.1:{listener.getsockname()[1]}", house, app.state.gateway)
    finally:
        server.should_exit = True
        thread.join(20)


def echo(body: Mapping[str, Any]) -> str:
    return "re: " + body["messages"][-1]["content"]


def searching(retriever: Retriever, executor: Executor) -> Search:
    """What ``serving.search`` does, in a thread: an embedder of the tests has no name to load it by."""

    def found(questions: Sequence[str]) -> list[list[Passage]]:
        return [
            [
                Passage(chunk=one.chunk, score=one.score, tokens=retriever.count_tokens(one.chunk.text))
                for one in best
            ]
            for best in retriever.retrieve_many(questions)
        ]

    async def search(questions: Sequence[str]) -> list[list[Passage]]:
        return await asyncio.get_running_loop().run_in_executor(executor, found, questions)

    return search


@contextmanager
def house_in(folder: Path, says: Says = echo, latency_s: float = 0.0, **settings: Any) -> Iterator[House]:
    """A house with the tasks ``plain`` (prompt), ``docs`` (rag) and ``empty`` (no champion)."""
    defaults = load_serving_settings(ROOT / "serving.yaml").model_dump()
    defaults["records"]["path"] = folder / "records.sqlite"
    defaults |= {
        "keys": folder / "keys.json",
        "inbox": str(folder / "inbox"),
        "tasks": {"docs": {"inline_sources": True}},
    }
    for name, value in settings.items():
        defaults[name] = {**defaults[name], **value} if isinstance(defaults[name], dict) else value
    made = ServingSettings.model_validate(defaults)
    scopes: dict[str, frozenset[Any]] = {
        "chat": frozenset({"chat"}),
        "feedback": frozenset({"feedback"}),
        "admin": frozenset({"admin"}),
    }
    keys = {name: create_key(made.keys, name, granted, 100_000) for name, granted in scopes.items()}
    with writing(folder / "index") as draft, Cache(folder / "vectors.sqlite") as cache:
        build_index(PAGES, Knowledge(), WordEmbedder(), draft, cache, "docs")
    with (
        stub_engine(says, latency_s) as engine,
        ThreadPoolExecutor(1) as executor,
        open_retriever(folder / "index", Knowledge(), WordEmbedder()) as retriever,
    ):
        house = House(folder, engine, retriever, made, Router(), keys)
        plain = house.serving(task_of("plain", folder))
        docs = house.serving(
            task_of("docs", folder, abstention=ABSTENTION),
            retrieval=BatchedRetrieval(searching(retriever, executor)),
            rung="rag",
            index_version=retriever.version,
        )
        house.router.put("plain", Lineup({"champion": plain}))
        house.router.put("docs", Lineup({"champion": docs}))
        house.router.put("empty", Lineup({}))
        yield house
