"""What the command costs when there is nothing to do: `--help`, and a climb with nothing changed.

    python bench/command.py [--json] [--runs 5]

Run `make climb` first. `--help` is compared with a bare interpreter, the idle climb with `--help`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time


def seconds(arguments: list[str], runs: int) -> float:
    """Median wall time of a command, seconds.

    Raises:
        CalledProcessError: the command failed.
    """
    took = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs", type=int, default=5, help="runs of each command; the median is told")
    options = parser.parse_args()
    bare = seconds(["-c", "pass"], options.runs)
    shown = seconds(["-m", "stepladder", "--help"], options.runs)
    idle = seconds(["-m", "stepladder", "climb"], options.runs)
    measured = {
        "python_s": round(bare, 3),
        "help_s": round(shown, 3),
        "help_over_python": round(shown / bare, 2),
        "idle_climb_s": round(idle, 3),
        "idle_climb_over_help": round(idle / shown, 2),
    }
    if options.json:
        print(json.dumps(measured))
    else:
        print("\n".join(f"{name:22} {value}" for name, value in measured.items()))


if __name__ == "__main__":
    main()
