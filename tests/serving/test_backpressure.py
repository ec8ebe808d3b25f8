"""What is too much is refused, what is too late is ended, what nobody waits for is cancelled."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
import pytest

from serving.errors import ApiError
from serving.gate import Gate as Queue
from serving.router import Lineup
from tests.serving.house import Gate, answering, house_in, task_of, wait_until

QUESTION = [{"role": "user", "content": "Why?"}]
BODY = {"model": "plain", "messages": QUESTION}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Gate]:
    """An engine that takes a minute; one request at a time, one more may wait."""
    limits = {"in_flight": 1, "waiting": 1, "body_timeout_s": 0.5}
    with (
        house_in(tmp_path, lambda _: "one two three", 60, limits=limits) as house,
        answering(house) as gate,
    ):
        yield gate


def queue_of(gate: Gate) -> Queue:
    """The champion's."""
    champion = gate.house.router.lineups["plain"].champion
    assert champion
    return gate.gateway.gate(champion)


def begin(gate: Gate, key: str = "chat", **more: object) -> socket.socket:
    """Send a request and do not wait for its answer."""
    body = json.dumps({**BODY, **more}).encode()
    host, port = gate.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {gate.house.keys[key]}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_a_full_queue_refuses_with_a_time_to_come_back(slow: Gate) -> None:
    first = begin(slow)
    wait_until(lambda: len(slow.house.engine.seen) == 1)
    second = begin(slow)
    wait_until(lambda: queue_of(slow).waiting == 1)
    with slow.http() as client:
        answer = client.post("/v1/chat/completions", json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "server_busy")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    (refused,) = slow.records("refused")
    assert (refused["outcome"], refused["version"], len(refused["trace"])) == ("server_busy", "1", 32)
    assert "messages" not in refused
    first.close()
    second.close()


def test_what_waits_in_the_queue_is_recorded_however_it_leaves_it(slow: Gate) -> None:
    first = begin(slow)
    wait_until(lambda: len(slow.house.engine.seen) == 1)
    with slow.http() as client:
        late = client.post("/v1/chat/completions", json=BODY, headers={"X-Request-Timeout": "0.2"})
    assert late.status_code == 504
    second = begin(slow)
    wait_until(lambda: queue_of(slow).waiting == 1)
    second.close()
    wait_until(lambda: queue_of(slow).waiting == 0)
    told = slow.records("answered")
    assert [(one["outcome"], one["queued_ms"]) for one in told] == [
        ("deadline_exceeded", None),
        ("cancelled", None),
    ]
    assert told[0]["latency_ms"] >= 199, "the time in the queue counts"
    assert len(slow.records("asked")) == 3
    first.close()


def test_a_challenger_that_hangs_does_not_hold_up_the_champion(slow: Gate) -> None:
    champion = slow.house.router.lineups["plain"].champion
    assert champion
    hangs = slow.house.serving(task_of("plain", slow.house.folder), version="2")
    slow.house.router.put("plain", Lineup({"champion": champion, "challenger": hangs}))
    asked = [begin(slow, model="plain@challenger", key="admin") for _ in range(2)]
    wait_until(lambda: slow.gateway.gate(hangs).waiting == 1)
    asked.append(begin(slow))
    wait_until(lambda: len(slow.house.engine.seen) == 2)
    for connection in asked:
        connection.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_the_engine_and_frees_the_slot(slow: Gate, stream: bool) -> None:
    connection = begin(slow, stream=stream)
    wait_until(lambda: len(slow.house.engine.seen) == 1)
    if stream:
        assert b"200 OK" in connection.recv(1000)
    connection.close()

    wait_until(lambda: slow.house.engine.cancelled == 1)
    wait_until(lambda: queue_of(slow).working == 0)
    champion = slow.house.router.lineups["plain"].champion
    assert champion
    assert slow.house.router.in_use(champion) == 0
    assert slow.records("answered")[0]["outcome"] == "cancelled"


def test_a_client_that_leaves_the_queue_is_forgotten(slow: Gate) -> None:
    first = begin(slow)
    wait_until(lambda: len(slow.house.engine.seen) == 1)
    second = begin(slow)
    wait_until(lambda: queue_of(slow).waiting == 1)
    second.close()
    wait_until(lambda: queue_of(slow).waiting == 0)
    assert len(slow.house.engine.seen) == 1
    first.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_ends_the_engines_work(slow: Gate, stream: bool) -> None:
    with slow.http() as client:
        answer = client.post(
            "/v1/chat/completions", json={**BODY, "stream": stream}, headers={"X-Request-Timeout": "0.3"}
        )
    assert "deadline_exceeded" in answer.text
    assert answer.status_code == (200 if stream else 504)
    wait_until(lambda: slow.house.engine.cancelled == 1)
    assert slow.records("answered")[0]["outcome"] == "deadline_exceeded"


def test_the_official_clients_own_timeout_is_its_deadline(slow: Gate) -> None:
    with pytest.raises(openai.APIError):
        slow.openai(timeout=0.5).chat.completions.create(model="plain", messages=QUESTION)
    wait_until(lambda: slow.house.engine.cancelled == 1)


def test_a_client_that_sends_its_request_too_slowly_is_cut_off(slow: Gate) -> None:
    host, port = slow.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"Authorization: Bearer {slow.house.keys['chat']}\r\nContent-Length: 100\r\n\r\n{{"
        connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{head}".encode())
        assert b"408" in connection.recv(1000)


@pytest.mark.parametrize(
    ("before", "sent"),
    [
        (b"", b""),
        (b"", b"GET /healthz HTTP/1.1\r\nHost:"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost:"),
    ],
)
def test_a_client_that_does_not_say_what_it_wants_is_cut_off(slow: Gate, before: bytes, sent: bytes) -> None:
    host, port = slow.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        if before:
            connection.sendall(before)
            assert b'"ok"' in connection.recv(10_000)
        connection.sendall(sent)
        assert connection.recv(1000) == b""


def test_more_connections_than_there_may_be_are_refused(tmp_path: Path) -> None:
    with house_in(tmp_path, limits={"connections": 2}) as house, answering(house) as gate:
        host, port = gate.url.removeprefix("http://").split(":")
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(socket.create_connection((host, int(port))))
            client = stack.enter_context(gate.http())
            refused = client.get("/v1/models")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_connections")
            assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
            assert client.get("/healthz").status_code == 200, "whoever looks after it is heard"
        wait_until(lambda: answers_models(gate))


def answers_models(gate: Gate) -> bool:
    with gate.http() as client:
        return client.get("/v1/models").status_code == 200


def test_a_client_that_does_not_read_its_answer_is_cut_off(tmp_path: Path) -> None:
    """An answer of 12 MB, larger than all buffers between."""
    says = " ".join(["x" * 30_000] * 400)
    with (
        house_in(tmp_path, lambda _: says, limits={"send_timeout_s": 0.3}, redact=[]) as house,
        answering(house) as gate,
    ):
        connection = begin(gate, stream=True)
        ended = gate.gateway.metrics.requests.labels("/v1/chat/completions", 200)
        wait_until(lambda: ended._value.get() == 1)
        assert gate.records("answered")[0]["outcome"] in ("answered", "cancelled")
        connection.close()


def test_one_tasks_queue_is_not_anothers(slow: Gate) -> None:
    first = begin(slow)
    wait_until(lambda: len(slow.house.engine.seen) == 1)
    other = slow.house.serving(task_of("other", slow.house.folder))
    slow.house.router.put("other", Lineup({"champion": other}))
    second = begin(slow, model="other")
    wait_until(lambda: len(slow.house.engine.seen) == 2)
    first.close()
    second.close()


def test_a_switch_under_load_fails_and_mixes_nothing(tmp_path: Path) -> None:
    """Forty streams while the champion changes ten times: every answer is wholly of one release."""

    def says(body: dict) -> str:
        return " ".join([body["messages"][0]["content"]] * 8)

    with house_in(tmp_path, says, 0.05) as house, answering(house) as gate:
        made = [
            house.serving(task_of("plain", tmp_path, prompt=f"prompt{number}"), version=str(number))
            for number in range(10)
        ]
        house.router.put("plain", Lineup({"champion": made[0]}))
        answers: list[tuple[str, str]] = []
        stop = threading.Event()

        def ask() -> None:
            client = gate.openai()
            while not stop.is_set():
                chunks = list(client.chat.completions.create(model="plain", messages=QUESTION, stream=True))
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
                answers.append((chunks[0].stepladder["version"], text))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for serving in made:
            house.router.put("plain", Lineup({"champion": serving}))
            seen = len(answers)
            wait_until(lambda seen=seen: len(answers) >= seen + 20, 30)
        stop.set()
        for thread in threads:
            thread.join(20)

        assert len({version for version, _ in answers}) == 10
        for version, text in answers:
            assert text == " ".join([f"prompt{version}"] * 8)
        assert all(house.router.in_use(serving) == 0 for serving in made)
        outcomes = {record["outcome"] for record in gate.records("answered")}
        assert outcomes == {"answered"}


def test_the_expected_wait_follows_the_pace_of_late() -> None:
    async def story() -> tuple[ApiError | None, ApiError | None]:
        queue = Queue(in_flight=1, waiting=0)
        before = queue.refusal()
        async with queue.entered():
            return before, queue.refusal()

    free, full = asyncio.run(story())
    assert free is None
    assert full
    assert full.retry_after_s == 1


def test_an_abandoned_connection_pool_does_not_matter(slow: Gate) -> None:
    with httpx.Client(timeout=0.2) as client, pytest.raises(httpx.TimeoutException):
        client.post(
            f"{slow.url}/v1/chat/completions",
            json=BODY,
            headers={"Authorization": f"Bearer {slow.house.keys['chat']}"},
        )
    wait_until(lambda: slow.house.engine.cancelled == 1)
