"""Many texts, looked at by several processes."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import psutil
import pytest

from stepladder.data.ingest import screen as module
from stepladder.data.ingest.screen import screen
from stepladder.settings import Ingest
from tests.serving.house import wait_until

TEXTS = [
    ("Write to jane.doe@example.com about the runbook.",) * 2,
    ("How is the service restarted after a deployment to the cluster?",) * 2,
    ("Wie wird der Dienst nach einer Auslieferung auf dem Rechner neu gestartet?",) * 2,
]
_ENDLESS = """
from stepladder.data.ingest import screen as module
from stepladder.settings import Ingest

if __name__ == "__main__":
    module._FEWEST_SHARED = 1
    module.screen([("How is the service restarted after a deployment? " * 9,) * 2] * 500_000, Ingest())
"""


def test_several_processes_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = screen(TEXTS * 3, Ingest())
    monkeypatch.setattr(module, "_FEWEST_SHARED", 1)
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    assert screen(TEXTS * 3, Ingest()) == alone
    assert [bool(one["personal"]) for one in alone[:3]] == [True, False, False]
    assert [bool(one["language"]) for one in alone[:3]] == [False, False, True]
    assert multiprocessing.active_children() == []


def test_workers_end_with_an_ingest_that_is_killed() -> None:
    ingest = psutil.Popen([sys.executable, "-c", _ENDLESS], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(ingest.children()) > 1)
    workers = ingest.children()
    ingest.kill()
    ingest.wait()
    left = psutil.wait_procs(workers, timeout=60)[1]
    for process in left:
        process.kill()
    assert left == []
