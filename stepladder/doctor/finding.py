"""What a check found."""

from __future__ import annotations

from typing import Literal

from stepladder.tasks import Strict

State = Literal["ok", "warn", "fail"]


class Finding(Strict):
    """One line of the doctor's table. ``remedy`` says what to do where the state is not ``ok``."""

    name: str
    state: State
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name=name, state="ok", found=found)


def warn(name: str, found: str, remedy: str) -> Finding:
    """It works, less well or not for everything."""
    return Finding(name=name, state="warn", found=found, remedy=remedy)


def fail(name: str, found: str, remedy: str) -> Finding:
    """Something will not work."""
    return Finding(name=name, state="fail", found=found, remedy=remedy)
