"""What is run again, because it may go well a little later."""

from __future__ import annotations

import httpx
import pytest
from mlflow.exceptions import MlflowException

from flows.passing import may_pass, task_may_pass
from stepladder.errors import StepladderError

pytestmark = pytest.mark.slow

_ASKED = httpx.Request("GET", "http://127.0.0.1")


def answered(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("said", request=_ASKED, response=httpx.Response(status, request=_ASKED))


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (StepladderError("the engine is away", may_pass=True), True),
        (StepladderError("a case stands in the examples"), False),
        (httpx.ConnectError("refused"), True),
        (httpx.ReadTimeout("silence"), True),
        (answered(503), True),
        (answered(404), False),
        (MlflowException("the store is away"), True),
        (ValueError("a fault of ours"), False),
        (OSError(28, "No space left on device"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_only_what_may_pass_is_run_again(*, error: BaseException, passes: bool) -> None:
    from prefect.states import Failed

    assert may_pass(error) == passes
    assert task_may_pass(None, None, Failed(data=error)) == passes
