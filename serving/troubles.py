"""Loads that failed: which are tried again, when, and which releases are refused for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.engines import NoRoomError
from serving.loading import UnfetchedError
from serving.models import MachineError
from serving.settings import Reconcile
from serving.smoke import MismatchError, RefusalError
from stepladder.errors import StepladderError
from stepladder.failures import first_line, is_full_disk
from stepladder.promotion import Version


@dataclass(frozen=True)
class _Trouble:
    attempts: int
    until: float
    reason: str
    missing_gib: float | None


class Troubles:
    """What stands against loading versions of one task now. Forgotten at a restart, at no cost but attempts.

    Args:
        settings: attempts and pauses.
        clock: seconds that only grow.
    """

    def __init__(self, settings: Reconcile, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._by_version: dict[str, _Trouble] = {}

    def add(self, version: Version, error: Exception) -> str | None:
        """Take note of a failed load.

        Only what is the release's own fault counts against it: not a lack of memory or of room on the disk,
        not files that could not be fetched, not a server that is away, not what is wrong with this machine,
        and neither a failed start nor other answers to its smoke cases of one that answered well before.

        Returns:
            Why the version is refused for good, or None where it is to be tried again.
        """
        before = self._by_version.pop(version.version, None)
        attempts = before.attempts if before else 0
        missing = error.missing_gib if isinstance(error, NoRoomError) else None
        heals = version.passed and isinstance(error, MismatchError)
        counts = missing is None and not heals and not _passes(error)
        attempts += counts
        gives_up = counts and attempts >= self._settings.attempts and not version.passed
        reason = first_line(error)
        if gives_up or (isinstance(error, RefusalError) and not heals):
            return reason
        if heals:
            reason = f"it passed before, so something is wrong with this machine: {reason}"
        # To make room takes several looks, which must all know of it; this machine is mended by a person.
        slow = missing is not None or heals or isinstance(error, MachineError)
        pause = self._settings.most_pause_s if slow else self._pause_s(attempts)
        self._by_version[version.version] = _Trouble(attempts, self._clock() + pause, reason, missing)
        return None

    def _pause_s(self, attempts: int) -> float:
        return min(self._settings.most_pause_s, self._settings.pause_s * 2.0 ** max(0, attempts - 1))

    def forget(self, version: str) -> None:
        """It was loaded."""
        self._by_version.pop(version, None)

    def memory_came_back(self) -> None:
        """Let those that wait for memory ask again."""
        self._by_version = {name: one for name, one in self._by_version.items() if one.missing_gib is None}

    @property
    def resting(self) -> dict[str, str]:
        """Versions that wait for their next attempt, with the reason of the last one's failure."""
        return {name: one.reason for name, one in self._now().items() if one.missing_gib is None}

    @property
    def cramped(self) -> dict[str, float]:
        """Versions that lack memory, GiB."""
        return {name: one.missing_gib for name, one in self._now().items() if one.missing_gib is not None}

    def _now(self) -> dict[str, _Trouble]:
        now = self._clock()
        return {name: one for name, one in self._by_version.items() if one.until > now}


def _passes(error: Exception) -> bool:
    """Whether it says nothing about the release: something else is away, full or wrong here."""
    away = isinstance(error, StepladderError) and error.may_pass
    return away or isinstance(error, UnfetchedError | MachineError) or is_full_disk(error)
