"""Files written whole or not at all, JSON Lines with line numbers in errors, and digests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError

_ASIDE = ".old"  # what is replaced, until its successor stands in its place
_OWNER = ".owner"
_FULL_OR_READ_ONLY = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same value gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_text(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_value(value: Any) -> str:
    """SHA-256 of a JSON value's canonical form, in hex."""
    return digest_text(canonical_json(value))


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> str:
    """SHA-256 over the relative names and contents of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_value({str(path.relative_to(folder)): digest_file(path) for path in files})


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends well.

    Works for a file and for a folder. When the block raises, ``path`` stays as it was. An error of the
    block that has nothing to do with writing here (a refused connection, say) is raised as it is. What a
    killed writer of the same path left beside it is swept away first.

    Raises:
        StepladderError: the disk is full or the place is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    draft = scratch / path.name
    try:
        with _owning(scratch):
            yield draft
            _replace(draft, path, scratch / _ASIDE)
    except OSError as error:
        if error.errno in _FULL_OR_READ_ONLY or _concerns(error, scratch):
            raise _unwritable(path, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _owning(scratch: Path) -> Iterator[None]:
    """Hold a lock on a scratch folder; the system lets go of it when this process ends, however it ends."""
    # Locked under another name first: nobody sees the file without its lock.
    unlocked = scratch / f"{_OWNER}.new"
    with unlocked.open("w") as file:
        with suppress(OSError):  # a file system without locks: what is left there is never swept
            fcntl.flock(file, fcntl.LOCK_EX)
            unlocked.rename(scratch / _OWNER)
        yield


def sweep(path: Path, *, alone: bool = False) -> None:
    """Remove the scratch folders of writers of ``path`` that were killed; finish a replacement begun.

    ``alone`` says that nobody else writes it now: then also what a writer left before it had locked it.
    """
    if not path.parent.is_dir():
        return
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")  # as tempfile.mkdtemp names them
    for scratch in [found for found in path.parent.iterdir() if ours.fullmatch(found.name)]:
        try:
            with (scratch / _OWNER).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its writer lives, is about to take it, or has just removed it
            if not alone or (scratch / _OWNER).exists():
                continue
        if (scratch / _ASIDE).exists() and not path.exists():
            # Killed between the two renames: the draft was whole.
            (scratch / path.name).replace(path)
        shutil.rmtree(scratch, ignore_errors=True)


def _replace(draft: Path, path: Path, aside: Path) -> None:
    """Rename over ``path``; a folder is moved aside first, and back if the rename fails."""
    if not path.is_dir():
        draft.replace(path)
        return
    path.replace(aside)
    try:
        draft.replace(path)
    except OSError:
        aside.replace(path)
        raise


def _concerns(error: OSError, folder: Path) -> bool:
    """Whether the file that the error names lies in ``folder``."""
    named = error.filename if isinstance(error.filename, str | os.PathLike) else None
    return named is not None and folder in Path(named).parents


def _unwritable(path: Path, error: OSError) -> StepladderError:
    return StepladderError(
        f"cannot write: {error.strerror or error}",
        where=str(path),
        remedy="free some disk space or choose a writable place, then run the same command again;"
        " what was there before is untouched",
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with writing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_text(path: Path, remedy: str = "add the file") -> str:
    """Read a UTF-8 text file; a byte order mark, as some editors write, is dropped.

    Args:
        path: the file.
        remedy: what to do if it is missing.

    Raises:
        StepladderError: it is missing, not readable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise StepladderError("file not found", where=str(path), remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise StepladderError(f"not UTF-8: {error}", where=str(path), remedy="save it as UTF-8") from error
    except OSError as error:
        raise StepladderError(
            f"cannot read: {error.strerror or error}", where=str(path), remedy="make it a readable file"
        ) from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StepladderError: it is missing, not readable or not JSON.
    """
    try:
        return json.loads(read_text(path, remedy="run the stage that writes it: dvc repro"))
    except json.JSONDecodeError as error:
        raise StepladderError(
            f"not valid JSON: {error}", where=str(path), remedy="mend it, or delete it and run dvc repro"
        ) from error


def jsonl_text(rows: Iterable[Any]) -> str:
    """One JSON value a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, whole or not at all."""
    write_text(path, jsonl_text(rows))


def read_jsonl(path: Path) -> list[tuple[int, Any]]:
    """Read a JSON Lines file as (line number, value) pairs; blank lines are skipped.

    Raises:
        StepladderError: the file is missing, not UTF-8, or a line is not JSON.
    """
    return [(number, parse_line(line, f"{path}:{number}")) for number, line in read_lines(path)]


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a JSON Lines file that are not blank, with their numbers from 1.

    Lines end at a newline only: a JSON text may hold U+2028 and other ends of line that
    ``str.splitlines`` would cut at.

    Raises:
        StepladderError: the file is missing or not UTF-8.
    """
    text = read_text(path, remedy="add the file; docs/02-your-own-task.md shows its form")
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def parse_line(line: str, where: str) -> Any:
    """One line of JSON Lines.

    Raises:
        StepladderError: it is not JSON, or holds half a surrogate pair (which no file can hold).
    """
    try:
        value = json.loads(line)
        if "\\u" in line:
            canonical_json(value).encode()
    except json.JSONDecodeError as error:
        raise StepladderError(
            f"not valid JSON: {error.msg} at column {error.colno}",
            where=where,
            remedy="mend or remove that line",
        ) from error
    except UnicodeEncodeError as error:
        raise StepladderError(
            f"not valid text: {error}", where=where, remedy="mend the broken \\u escape, or remove that line"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise StepladderError(
            f"cannot be read: {error}", where=where, remedy="mend or remove that line"
        ) from error
    return value
