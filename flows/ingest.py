"""The flow `ingest`: take what waits in the inbox. The library itself sends `dataset.updated` to Prefect."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from stepladder.data.ingest.records import Account
from stepladder.data.ingest.run import Ingested, ingest
from stepladder.settings import load_settings


@flow(name="ingest")
def ingest_inbox(root: str = ".") -> int:
    """Take what waits, once; a run that fails or is killed is gone on with by the next.

    Args:
        root: the project's folder.

    Returns:
        How many new versions there are.
    """
    folder = Path(root).resolve()
    done = ingest(folder, load_settings(folder / "params.yaml"))
    _tell(done)
    if done.accounts:
        create_table_artifact(
            table=[row for account in done.accounts for row in _rows(account)],
            key="ingest",
            description="Rows in = rows kept + rows quarantined + rows known already",
        )
    return sum(account.commit is not None for account in done.accounts)


def _tell(done: Ingested) -> None:
    logger = get_run_logger()
    for account in done.accounts:
        for kind, counts in account.plan.counts.items():
            logger.info("%s %s: %s", account.plan.task, kind, counts.told)
        for kind, reason in account.plan.refused.items():
            logger.warning("%s %s: refused: %s", account.plan.task, kind, reason)
    for name in done.strays:
        logger.warning("left in the inbox: %s", name)
    for fault in done.unsent:
        logger.warning("%s; the next ingest tries again", fault)


def _rows(account: Account) -> list[dict[str, object]]:
    return [
        {"task": account.plan.task, "kind": kind, **counts.model_dump(), "tag": account.tag or ""}
        for kind, counts in account.plan.counts.items()
    ]
