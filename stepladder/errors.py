"""The one error that users see: what went wrong, where, and what to do about it."""

from __future__ import annotations


class StepladderError(Exception):
    """A failure that the user can act on.

    Args:
        what: what is wrong, one sentence.
        where: the file, line, stage or address it concerns; may be empty.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  What to do: {self.remedy}" if self.remedy else text
