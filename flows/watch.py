"""stub"""

from prefect import flow


@flow
def watch() -> None: ...
