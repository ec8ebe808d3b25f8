"""Takes vLLM's options, of which it heeds the port and the served name.

``FAKE_VLLM_START_S``: how long it takes before it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any

from tests.stub_engine import StubEngine, started

WORDS = 10
LATENCY_S = 0.2


def says(body: dict[str, Any]) -> str:
    """The system prompt, over and over: a mixed answer would show."""
    return " ".join([str(body["messages"][0]["content"]).strip()] * WORDS)


async def serve(port: int, name: str) -> None:
    await asyncio.sleep(float(os.environ.get("FAKE_VLLM_START_S", "0")))
    await started(StubEngine(says, LATENCY_S, name), port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    known, _ = parser.parse_known_args()
    asyncio.run(serve(known.port, known.served_model_name))
