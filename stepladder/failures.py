"""Failures of the world outside (a full disk, a server that is down) as errors that say what to do.

Libraries word them in many ways, in exceptions of their own: this is the one place that knows how.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from stepladder.errors import StepladderError

_FULL = ("no space left on device", "disk is full", "disk quota exceeded", "file too large")
_KEPT = "; what was there before is untouched"


@contextmanager
def explained() -> Iterator[None]:
    """Raise what the user can act on as a ``StepladderError``; other errors are raised as they are."""
    try:
        yield
    except StepladderError:
        raise
    except Exception as error:
        told = _explain(error)
        if told is None:
            raise
        raise told from error


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that the disk is full."""
    return any(full in str(one).lower() for one in _chain(error) for full in _FULL)


def without_password(uri: str) -> str:
    """An address, or a text with one, as it may be shown."""
    return re.sub(r"//[^/\s]*@", "//", uri)


def first_line(error: BaseException) -> str:
    """What an error says, without passwords, and the advice and addresses that libraries put below."""
    # shutil lists what went wrong as (from, to, why).
    listed = isinstance(error, shutil.Error) and isinstance(error.args[0], list) and error.args[0]
    told = error.args[0][0][-1] if listed else error
    lines = without_password(str(told)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then what caused it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


# What an error from a package means: what, where, what to do, whether it may pass by itself.
_BY_PACKAGE = (
    (
        {"huggingface_hub"},
        "the model hub did not give a model",
        "models in params.yaml",
        "check the id and the network (a gated model needs `hf auth login`), or name a folder",
        True,
    ),
    (
        {"mlflow", "sqlalchemy"},
        "MLflow did not do it",
        "mlflow.tracking_uri in params.yaml, or MLFLOW_TRACKING_URI",
        f"see that its server or database is up, then run the same command again{_KEPT}",
        True,
    ),
    (
        {"safetensors"},
        "a file of weights is damaged",
        "models.base in params.yaml, or .stepladder/merged",
        "delete that model's folder and make it again: `stepladder setup`, then the same command",
        False,
    ),
)


def _explain(error: Exception) -> StepladderError | None:
    told = first_line(error)
    if is_full_disk(error):
        remedy = f"free some disk space, then run the same command again{_KEPT}"
        return StepladderError(f"the disk is full: {told}", remedy=remedy)
    if isinstance(error, PermissionError):
        remedy = f"give yourself the rights to it, then run the same command again{_KEPT}"
        what = f"not allowed to read or write: {error.strerror or told}"
        return StepladderError(what, where=str(error.filename or ""), remedy=remedy)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        remedy = "lower tuning.batch_size, sizes.*.context_tokens or engine.kv_cache_gib in params.yaml"
        return StepladderError(f"memory ran out: {told}", remedy=remedy)
    packages = {type(one).__module__.partition(".")[0] for one in _chain(error)}
    for names, what, where, remedy, may_pass in _BY_PACKAGE:
        if packages & names:
            return StepladderError(f"{what}: {told}", where=where, remedy=remedy, may_pass=may_pass)
    return None
