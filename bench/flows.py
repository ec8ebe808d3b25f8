"""What the flow costs beside plain `dvc repro`, and how long a dropped file waits for its climb.

    python bench/flows.py [--json] [--stage-seconds 20]

A project of three stages that sleep ``--stage-seconds`` each, on a Prefect server and a worker of its own
with the settings of ``prefect.toml`` and ``prefect.yaml`` and default parameters. A climb counts from the
making of its run to its end. Goals: it takes at most 1.1 times `dvc repro` and 20 s; it begins within 15 s
of a file, also of the first one that a new watcher finds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.flows.house import House, house  # noqa: E402
from tests.flows.project import add_example, commit, dvc, row, run, wait_until  # noqa: E402

FINAL = ("Completed", "Failed", "Crashed", "Cancelled")
SHARE, SECONDS, WAIT = 0.10, 20.0, 15.0


def plain(here: House, folder: Path) -> float:
    """Seconds of `dvc repro` in a clean clone."""
    run(folder, "git", "clone", "-q", str(here.project), "desk")
    started = time.monotonic()
    dvc(folder / "desk", "repro")
    return time.monotonic() - started


def flow(here: House) -> float:
    """Seconds of a climb of the same, from its run's making to its end."""
    started = here.run("climb/climb")
    assert here.await_state(started, *FINAL, timeout_s=600) == "Completed", here.logs(started)
    found = here.ask("GET", f"/flow_runs/{started}")
    return moment(found["end_time"]) - moment(found["created"])


def moment(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()


def use_defaults(here: House) -> None:
    """The tests' project is quicker: it lets files settle for less."""
    path = here.project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    path.write_text(
        yaml.safe_dump({name: one for name, one in params.items() if name not in ("ingest", "flows")})
    )
    commit(here.project, "Use the defaults")


def waits(here: House) -> list[float]:
    """Seconds from a file's last write to the start of the climb's flow: of the first file and of another."""
    before = len(here.runs("climb"))
    waiting = here.project / "inbox/tiny/examples"
    waiting.mkdir(parents=True)
    here.start("inbox", "-m", "flows.ingest")
    found = []
    for number in (50, 60):
        path = waiting / f"{number}.jsonl"
        path.write_text("".join(row(one) for one in range(number, number + 9)))
        dropped = time.time()
        climb = wait_until(lambda known=before: here.runs("climb")[known:], 120, "a climb")[0]
        started = wait_until(lambda one=climb: here.ask("GET", f"/flow_runs/{one['id']}")["start_time"], 120)
        found.append(moment(started) - dropped)
        here.await_state(climb["id"], *FINAL, timeout_s=600)
        before += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stage-seconds", type=float, default=20)
    options = parser.parse_args()
    os.environ["STAGE_SECONDS"] = str(options.stage_seconds)
    with tempfile.TemporaryDirectory() as place, house(Path(place), use_defaults) as here:
        repro = plain(here, Path(place))
        climb = flow(here)
        add_example(here.project, 1)
        first, later = waits(here)
    allowed = repro * (1 + SHARE) + SECONDS
    found = {
        "dvc repro, s": round(repro, 1),
        "climb, s": round(climb, 1),
        "climb / dvc repro": round(climb / repro, 3),
        "climb / allowed (1.1 x dvc repro + 20 s)": round(climb / allowed, 3),
        "first file to climb, s": round(first, 1),
        "later file to climb, s": round(later, 1),
        "slower of the two / 15 s": round(max(first, later) / WAIT, 3),
    }
    print(
        json.dumps(found)
        if options.json
        else "\n".join(f"{name:42} {value}" for name, value in found.items())
    )


if __name__ == "__main__":
    main()
