"""Ingest: take what waits in the inbox. Each new version of a dataset is an event ``dataset.updated``.

The flow runs on a schedule and by hand. ``python -m flows.ingest`` watches the inbox and runs it as soon as
something waits: a process that stays, so that data does not wait for one to start.
"""

from __future__ import annotations

import time
from functools import partial

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from flows.inbox import Watched, is_answered, waits
from flows.place import Place, here
from flows.tell import key_of
from stepladder.console import say
from stepladder.data.ingest.records import Account
from stepladder.data.ingest.run import docs_of
from stepladder.data.ingest.run import ingest as take
from stepladder.proxies import keep_this_machine_off_proxies

_LOOK_EVERY_S = 1.0
_AFTER_ERROR_S = 30.0


@flow(name="ingest", description=__doc__)
def ingest() -> int:
    """Take what waits; the number of batches."""
    place, log = here(), get_run_logger()
    done = take(place.project, place.settings, partial(_tell, place))
    for name in done.strays:
        log.warning("left in the inbox: %s", name)
    for fault in done.unsent:
        log.warning("%s; the next ingest tries again", fault)
    return len(done.accounts)


def _tell(place: Place, account: Account) -> None:
    plan, log = account.plan, get_run_logger()
    rows = [{"kind": kind, **counts.model_dump()} for kind, counts in plan.counts.items()]
    docs = sorted((docs_of(place.project, plan.task) / plan.batch).glob("*/index.html"))
    # No links: a browser does not open a file from a page of a server.
    sites = [f"Data Docs, {page.parent.name}: `{page.resolve()}`" for page in docs]
    told = "\n\n".join([account.tag or "nothing new", *sites])
    create_table_artifact(rows, key=key_of(f"ingest-{plan.task}"), description=told)
    for row, counts in plan.counts.items():
        log.info("%s, %s: %s", plan.task, row, counts.told)
    for kind, why in plan.refused.items():
        log.warning("%s, %s: refused: %s", plan.task, kind, why)


def watch_inbox() -> None:
    """Run the flow whenever something waits, until interrupted. One that fails is tried again later.

    It begins once the climb is deployed: an event before that would start nothing, and is not sent again.
    """
    watched, is_deployed = Watched(), False
    while True:
        try:
            is_deployed = is_deployed or is_answered()
            if is_deployed and waits(here(), watched):
                ingest()
            time.sleep(_LOOK_EVERY_S)
        except Exception as error:  # whatever it is, what is dropped next is to be taken
            say(f"ingest: {error}")
            watched.seen.clear()
            time.sleep(_AFTER_ERROR_S)


if __name__ == "__main__":
    keep_this_machine_off_proxies()
    watch_inbox()
