"""Deploy the flows to the stack's Prefect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from stepladder.engine import tail
from stepladder.errors import StepladderError
from stepladder.stack.environment import addresses
from stepladder.stack.place import Place
from stepladder.stack.ports import Ports

_MODULE = "flows.setup"  # the library imports no flow


def set_up_flows(place: Place, ports: Ports, say: Callable[[str], None]) -> None:
    """Make pools, limits and automations, and deploy ``prefect.yaml``, where the project has one.

    Raises:
        StepladderError: it failed, with the end of its log.
    """
    if not (place.root / "prefect.yaml").is_file():
        return
    log = place.log("flows-setup")
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", _MODULE],
            cwd=place.root,
            env={**os.environ, **addresses(place, ports)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise StepladderError(
            f"the flows were not deployed:\n{tail(log)}", where=str(log), remedy="mend what it says"
        )
    say("flows: deployed")
