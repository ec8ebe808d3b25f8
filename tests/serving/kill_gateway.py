"""A gateway in a process of its own that is killed under load.

Run as a module it serves the house of the tests in the folder given and tells its address and key.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import openai

from tests.serving.house import ROOT, answering, house_in, read_records

_CLIENTS = 8


def killed_under_load(folder: Path) -> tuple[set[str], list[dict[str, Any]]]:
    """The ids of the answers that clients held when the gateway was killed, and what was recorded."""
    command = [sys.executable, "-m", "tests.serving.kill_gateway", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url, key = process.stdout.readline().split()
        delivered: set[str] = set()
        enough = threading.Event()
        clients = [
            threading.Thread(target=_ask_on, args=(url, key, delivered, enough)) for _ in range(_CLIENTS)
        ]
        for client in clients:
            client.start()
        enough.wait(60)
        process.kill()
        for client in clients:
            client.join(20)
    return delivered, read_records(folder / "records.sqlite")


def _ask_on(url: str, key: str, delivered: set[str], enough: threading.Event) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    while True:
        try:
            answer = client.chat.completions.create(
                model="plain", messages=[{"role": "user", "content": "Why?"}]
            )
        except openai.APIError:
            return
        delivered.add(answer.id)
        if len(delivered) >= 40:
            enough.set()


if __name__ == "__main__":
    with house_in(Path(sys.argv[1]), latency_s=0.05) as house, answering(house) as gate:
        print(gate.url, house.keys["chat"], flush=True)
        threading.Event().wait()
