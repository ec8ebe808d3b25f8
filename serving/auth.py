"""API keys: random, stored as hashes with scopes and a rate, read again when the file changes.

A key is 256 random bits, so a plain SHA-256 cannot be searched: a slow hash, which passwords need, would
only cost time at every request.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from serving.errors import ApiError
from stepladder.errors import StepladderError
from stepladder.files import read_json, write_json
from stepladder.tasks import Strict, explain

Scope = Literal["chat", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = ("chat", "feedback", "admin")
_PREFIX = "sl-"
_LOOK_EVERY_S = 1.0


class Key(Strict):
    """What is kept of an API key."""

    id: str
    name: str = Field(min_length=1)
    hash: str
    scopes: frozenset[Scope] = Field(min_length=1)
    requests_per_minute: int = Field(gt=0)
    created: str


_KEYS = TypeAdapter(list[Key])


def create_key(path: Path, name: str, scopes: frozenset[Scope], requests_per_minute: int) -> str:
    """Add a key to the file.

    Returns:
        The key itself: the only time that it is to be seen.

    Raises:
        StepladderError: the file is not readable or writable.
    """
    secret = _PREFIX + secrets.token_urlsafe(32)
    added = Key(
        id=secrets.token_hex(4),
        name=name,
        hash=_hash(secret),
        scopes=scopes,
        requests_per_minute=requests_per_minute,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with _alone(path):
        _write(path, [*read_keys(path), added])
    return secret


def revoke_key(path: Path, key_id: str) -> None:
    """Remove a key; a running gateway refuses it within a second.

    Raises:
        StepladderError: there is no such key.
    """
    with _alone(path):
        keys = read_keys(path)
        kept = [key for key in keys if key.id != key_id]
        if len(kept) == len(keys):
            raise StepladderError(
                f"no key with id {key_id!r}",
                where=str(path),
                remedy="`python -m serving keys list` tells them",
            )
        _write(path, kept)


def read_keys(path: Path) -> list[Key]:
    """All keys; none where there is no file.

    Raises:
        StepladderError: the file is not a list of keys.
    """
    if not path.exists():
        return []
    try:
        return _KEYS.validate_python(read_json(path))
    except ValidationError as error:
        raise StepladderError(
            f"not a file of keys: {explain(error)}", where=str(path), remedy="mend it, or make new keys"
        ) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Between reading and writing the file no other process changes it."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        yield


def _write(path: Path, keys: list[Key]) -> None:
    write_json(path, _KEYS.dump_python(keys, mode="json"))
    path.chmod(0o600)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Keyring:
    """The keys of a file, and what each may still ask for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = 0.0
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._budgets: dict[str, _Budget] = {}

    def admit(self, secret: str | None, scopes: tuple[Scope, ...]) -> Key:
        """The key of a request, which must have one of ``scopes``; one request is taken off its rate.

        Raises:
            ApiError: 401 no or a wrong key, 403 none of the scopes, 429 too many requests.
        """
        if not secret:
            raise ApiError(401, "missing_api_key", "no API key: send it as `Authorization: Bearer KEY`")
        self._refresh()
        key = self._keys.get(_hash(secret))
        if key is None:
            raise ApiError(401, "invalid_api_key", "this API key is not known here")
        if not key.scopes.intersection(scopes):
            raise ApiError(
                403, "missing_scope", f"this API key lacks the scope {' or '.join(scopes)}", param=None
            )
        budget = self._budgets.setdefault(key.id, _Budget(key.requests_per_minute))
        if wait := budget.take(time.monotonic()):
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"more than {key.requests_per_minute} requests a minute with this API key",
                retry_after_s=wait,
            )
        return key

    def _refresh(self) -> None:
        """Read the file again if it changed; a file that cannot be read leaves the keys as they were."""
        now = time.monotonic()
        if self._stamp is not None and now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            self._keys = {key.hash: key for key in read_keys(self._path)}
        except StepladderError:
            if self._stamp is None:
                raise
            return
        self._stamp = stamp
        self._budgets = {key.id: _Budget(key.requests_per_minute) for key in self._keys.values()} | {
            key.id: budget
            for key in self._keys.values()
            if (budget := self._budgets.get(key.id)) and budget.per_minute == key.requests_per_minute
        }


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


class _Budget:
    """A token bucket: a minute's requests at once, then one each time its share of a minute passed."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at = time.monotonic()

    def take(self, now: float) -> int:
        """Take one request; 0, or the whole seconds to wait for the next."""
        self._left = min(self.per_minute, self._left + (now - self._at) * self.per_minute / 60)
        self._at = now
        if self._left < 1:
            return max(1, round((1 - self._left) * 60 / self.per_minute + 0.5))
        self._left -= 1
        return 0
