"""Any body at all gets an answer or an error in OpenAI's form, and the gateway goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.house import Gate, answering, house_in

PATHS = st.sampled_from(["/v1/chat/completions", "/v1/feedback"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MESSAGE = {"role": "user", "content": "Why?"}
VALID = {"model": "plain", "messages": [MESSAGE]}
FIELDS = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "max_tokens", "response_format", "n", "tools", "stop"]
)
ODD_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", ""]), "content": JSON}
)
FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with house_in(tmp_path_factory.mktemp("fuzz")) as house, answering(house) as made:
        yield made


@pytest.fixture(scope="module")
def client(gate: Gate) -> Iterator[httpx.Client]:
    with gate.http("admin") as made:
        yield made


def post(client: httpx.Client, path: str, body: bytes) -> None:
    """An answer of 200, or an error with all its fields; never a fault of the gateway."""
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    if answer.status_code == 200:
        return
    assert answer.status_code in (400, 404, 413, 503), answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@FAST
@given(path=PATHS, body=st.binary(max_size=200))
def test_any_bytes(client: httpx.Client, path: str, body: bytes) -> None:
    post(client, path, body)


@FAST
@given(path=PATHS, value=JSON)
def test_any_json(client: httpx.Client, path: str, value: object) -> None:
    post(client, path, json.dumps(value).encode())


@FAST
@given(field=FIELDS, value=JSON)
def test_a_request_with_any_field_wrong(client: httpx.Client, field: str, value: object) -> None:
    post(client, "/v1/chat/completions", json.dumps({**VALID, field: value}).encode())


@FAST
@given(messages=st.lists(ODD_MESSAGE, max_size=4))
def test_any_messages(client: httpx.Client, messages: list[object]) -> None:
    body = {"model": "docs", "messages": [*messages, MESSAGE], "stream": len(messages) % 2 == 0}
    post(client, "/v1/chat/completions", json.dumps(body).encode())


@FAST
@given(headers=st.dictionaries(
    st.sampled_from(["x-request-timeout", "traceparent", "tracestate", "x-stainless-read-timeout"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
))  # fmt: skip
def test_any_headers(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/v1/chat/completions", json=VALID, headers=headers)
    assert answer.status_code in (200, 504)


def test_it_still_answers(client: httpx.Client) -> None:
    assert client.post("/v1/chat/completions", json=VALID).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.slow
def test_what_its_own_openapi_document_allows(tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    with house_in(tmp_path) as house, answering(house) as gate:
        headers = {"Authorization": f"Bearer {house.keys['admin']}"}
        schema = schemathesis.openapi.from_url(f"{gate.url}/openapi.json", headers=headers)

        for operation in schema.get_all_operations():
            _check(operation.ok(), headers)


def _check(operation, headers: dict[str, str]) -> None:  # noqa: ANN001
    """Cases of an operation, each checked against the document; some rules no schema can tell."""

    from schemathesis.specs.openapi.checks import positive_data_acceptance

    @FAST
    @given(case=operation.as_strategy())
    def conforms(case) -> None:  # noqa: ANN001
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    conforms()
