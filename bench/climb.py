"""A newcomer's first climb: `make climb` in a fresh clone, then with nothing and with one prompt changed.

    python bench/climb.py [--in FOLDER] [--json]

Tells the seconds until the cheap rungs of every task are on screen and until the end, the peak memory of all
processes together (proportional set size, sampled every few seconds), the seconds of an idle climb, and how
many responses of the cheap rungs are asked of the engine after one task's prompt was edited, beside how many
were asked at first, and how many of them were of the other tasks. Run it with nothing else on the machine.
The clone holds what is committed, and is kept with ``--in``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

_SCORED = re.compile(r"^(\S+) (prompt|rag|lora|lora\+rag) \(.*\): score")
_SAMPLE_S = 4  # to read the sizes of large processes takes time of its own
_ASKED = re.compile(r"evaluate: \d+ responses asked of the engine \((.+?)\)")


class Memory(threading.Thread):
    """The largest memory of a process and its descendants, GB, while it runs."""

    def __init__(self, pid: int, sample_s: float = _SAMPLE_S) -> None:
        super().__init__(daemon=True)
        self._sample_s = sample_s
        self._root = psutil.Process(pid)
        self.peak = 0.0

    def run(self) -> None:
        """Sample until the process is gone."""
        with suppress(psutil.NoSuchProcess):
            while self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
                self.peak = max(self.peak, self._sum() / 1e9)
                time.sleep(self._sample_s)

    def _sum(self) -> float:
        total = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return total


def watched(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a command; its lines with the second each appeared, its seconds and its peak memory.

    Raises:
        SystemExit: it failed; its output stands on standard error.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(folder),
    )
    memory = Memory(process.pid)
    memory.start()
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append((time.perf_counter() - started, line.rstrip()))
        print(f"{lines[-1][0]:7.0f} s  {lines[-1][1]}", file=sys.stderr, flush=True)
    if process.wait():
        sys.exit(f"{' '.join(command)} failed")
    return {"lines": lines, "seconds": time.perf_counter() - started, "peak_gb": memory.peak}


def _environment(folder: Path) -> dict[str, str]:
    """The caller's, with the clone's environment for that of the caller."""
    kept = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return {**kept, "PATH": f"{folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}


def cheap_rungs_at(lines: list[tuple[float, str]], tasks: list[str]) -> float:
    """Second at which the last of the tasks' rungs without an adapter was on screen."""
    seen = {match[1]: at for at, line in lines if (match := _SCORED.match(line)) and "lora" not in match[2]}
    return max(seen[task] for task in tasks)


def asked(lines: list[tuple[float, str]]) -> dict[str, int]:
    """Responses of the cheap rungs and probes that the engine was asked for, by task."""
    told = next(match[1] for _, line in lines if (match := _ASKED.search(line)))
    pairs = [one.rsplit(" ", 1) for one in told.split(", ")]
    return {task: int(count) for task, count in pairs}


def measure(clone: Path) -> dict[str, float]:
    """The figures of a fresh clone."""
    tasks = yaml.safe_load((clone / "params.yaml").read_text())["tasks"]
    first = watched(["make", "climb"], clone)
    idle = watched(["make", "climb"], clone)
    prompt = clone / "tasks" / tasks[0] / "prompt.md"
    prompt.write_text(prompt.read_text().rstrip() + " Be brief.\n")
    edited = watched([".venv/bin/python", "-m", "dvc", "repro", "evaluate"], clone)
    return {
        "cheap_rungs_s": round(cheap_rungs_at(first["lines"], tasks)),
        "climb_s": round(first["seconds"]),
        "peak_memory_gb": round(first["peak_gb"], 1),
        "idle_climb_s": round(idle["seconds"], 1),
        "idle_over_first": round(idle["seconds"] / first["seconds"], 4),
        "asked_at_first": sum(asked(first["lines"]).values()),
        "asked_after_one_prompt": sum(asked(edited["lines"]).values()),
        "of_them_of_other_tasks": sum(asked(edited["lines"])[task] for task in tasks[1:]),
        "cheap_rungs_after_one_prompt_s": round(edited["seconds"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--in", dest="folder", type=Path, help="clone into this folder, and keep it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clone = options.folder or Path(scratch) / "stepladder"
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        measured = measure(clone)
    if options.json:
        print(json.dumps(measured))
    else:
        print("\n".join(f"{name:26} {value}" for name, value in measured.items()))


if __name__ == "__main__":
    main()
