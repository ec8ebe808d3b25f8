"""What an ingest costs: rows a second, memory, and whether the cost grows with the batch or with the dataset.

    python bench/ingest.py [--json] [--rows 100000] [--times 10]

Each measurement is one `stepladder ingest` in a project of its own with git, DVC and a DVC remote, every
check on: first a batch of ``--rows`` into a dataset of as many, then a tenth of that into datasets of
``--rows`` and of ``--times`` as many. Rows are templated questions with ids, slices and clusters.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from climb import Memory

_SAMPLE_S = 0.2
ROOT = Path(__file__).resolve().parents[1]
SUBJECTS = ["timeout", "retry limit", "owner", "log level", "mount point", "schedule", "quota", "zone"]
VERBS = ["set for", "used by", "expected of", "written by", "read by", "granted to"]
SOURCE = random.Random(0)
NAMES = ["".join(SOURCE.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(4000)]


def row(number: int) -> dict[str, object]:
    """A question of some 30 words and a short answer, different for each number."""
    chosen = random.Random(number)
    service, host, team, option = chosen.choices(NAMES, k=4)
    subject, verb = chosen.choice(SUBJECTS), chosen.choice(VERBS)
    asked = (
        f"On {host} the {team} team runs {service}. Which {subject} is {verb} {service} number {number} when"
        f" {option} is on and the host was not restarted since the change of {chosen.choice(NAMES)}?"
    )
    answer = chosen.choice(["yes", "no", "none", f"{chosen.choice(NAMES)}-{number}"])
    return {
        "id": f"row-{number}",
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}],
        "slice": subject,
        "cluster": f"{service}/{host}",
    }


def write_rows(path: Path, first: int, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in range(first, first + rows):
            file.write(json.dumps(row(number)) + "\n")
    os.utime(path, (1e9, 1e9))


def make_project(root: Path, rows: int) -> None:
    """A project whose one task has a dataset of ``rows`` examples under DVC."""
    task = root / "tasks/bench"
    write_rows(task / "examples.jsonl", 0, rows)
    spec = {"title": "B", "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.05, "monthly_requests": 1}
    (task / "task.yaml").write_text(yaml.safe_dump(spec))
    (task / "prompt.md").write_text("Answer.\n")
    case = {"id": "c", "input": "What is a case?", "reference": "This", "cluster": "case"}
    (task / "cases.jsonl").write_text(json.dumps(case) + "\n")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump({**params, "tasks": ["bench"]}))
    (root / ".gitignore").write_text("/inbox/\n/quarantine/\n/.ingest/\n/.stepladder/\n/build/\n")
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        ["git", "init", "-q"],
        [*dvc, "init", "-q"],
        [*dvc, "remote", "add", "-q", "-d", "store", str(root.parent / "store")],
        [*dvc, "add", "-q", "tasks/bench/examples.jsonl"],
        ["git", "add", "."],
        ["git", "-c", "user.name=B", "-c", "user.email=b@b", "commit", "-q", "-m", "Begin"],
    ):
        subprocess.run(command, cwd=root, check=True)


def ingest(root: Path) -> dict[str, float]:
    """Wall and processor seconds of one ingest, and peak memory (MB) of all its processes together.

    Raises:
        CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "stepladder", "ingest", "--json"], cwd=root, stdout=-1)
    memory = Memory(process.pid, _SAMPLE_S)
    memory.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "stepladder ingest")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    counts = [one["plan"]["counts"].get("examples", {}) for one in json.loads(said)["batches"]]
    return {
        "arrived": sum(one.get("arrived", 0) for one in counts),
        "kept": sum(one.get("kept", 0) for one in counts),
        "seconds": round(seconds, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_mb": round(1000 * memory.peak),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the large batch")
    parser.add_argument("--times", type=int, default=10, help="how many times larger the large dataset is")
    options = parser.parse_args()
    rows, measured = options.rows, {}
    for name, held in {"dataset": rows, "larger": rows * options.times}.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "project"
            make_project(root, held)
            # The index of what is known is made at the first look; later ingests find it.
            write_rows(root / "inbox/bench/examples/first.jsonl", held, 1)
            measured[f"{name}_first"] = ingest(root)
            write_rows(root / "inbox/bench/examples/small.jsonl", held + 1, rows // 10)
            measured[f"{name}_small"] = ingest(root)
            if name == "dataset":
                write_rows(root / "inbox/bench/examples/large.jsonl", held + 1 + rows // 10, rows)
                measured["large"] = ingest(root)
    summary = {
        **measured,
        "rows_per_s": round(rows / measured["large"]["seconds"]),
        "small_batch_larger_over_smaller_dataset": round(
            measured["larger_small"]["seconds"] / measured["dataset_small"]["seconds"], 2
        ),
    }
    if options.json:
        print(json.dumps(summary))
    else:
        print("\n".join(f"{name:42} {value}" for name, value in summary.items()))


if __name__ == "__main__":
    main()
