"""Which model an attached server serves: its answers are known by that, also while the server is away."""

from __future__ import annotations

from stepladder.engine import RunningEngine, address, attach
from stepladder.errors import StepladderError
from stepladder.failures import without_password
from stepladder.files import read_json, write_json
from stepladder.stages.workspace import Workspace


def served_model(workspace: Workspace, url: str) -> str | None:
    """The id of the model that a server serves or, while it does not answer, of the one that it served last.

    So what needs known responses only needs no server. None where the server has never answered here.
    """
    place = without_password(address(url))
    noted: dict[str, str] = read_json(workspace.served) if workspace.served.is_file() else {}
    try:
        model = attach(url).model
    except StepladderError:
        return noted.get(place)
    if noted.get(place) != model:
        write_json(workspace.served, {**noted, place: model})
    return model


def require_served(running: RunningEngine, served: str | None) -> None:
    """Check that a server serves what its responses were looked up for.

    Raises:
        StepladderError: it was away then, and serves another model now.
    """
    if running.model != served:
        raise StepladderError(
            f"the server serves {running.model}, but known responses were looked up for"
            f" {served or 'no model'}: it did not answer then",
            where=without_password(running.url),
            remedy="run the same command again, which looks them up for what is served now",
            may_pass=True,
        )
