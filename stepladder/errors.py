"""The one error that users see: what went wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

MAY_PASS = 75  # the exit code that says: try again (EX_TEMPFAIL of sysexits.h)


class StepladderError(Exception):
    """A failure that the user can act on.

    Args:
        what: what is wrong, one sentence.
        where: the file, line, stage or address it concerns; may be empty.
        remedy: what to do about it.
        may_pass: whether the same may go well a little later, with nothing done about it (a server is down).
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "", may_pass: bool = False) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        self.may_pass = may_pass
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  What to do: {self.remedy}" if self.remedy else text


def raise_failed(failed: Mapping[str, Exception]) -> None:
    """Raise what went wrong with some tasks, once the others have had their turn; nothing where nothing did.

    Args:
        failed: errors by task. One is raised as it is, several as one that tells them all.
    """
    if len(failed) > 1:
        said = "\n".join(f"{task}: {error}" for task, error in failed.items())
        raise StepladderError(f"{len(failed)} tasks failed:\n{said}")
    for error in failed.values():
        raise error
