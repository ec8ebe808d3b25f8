"""Rows as they arrive, and what is remembered of a row to know it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepladder.data.duplicates import normal_form
from stepladder.data.endings import endings
from stepladder.data.ingest.records import Kind
from stepladder.errors import StepladderError
from stepladder.files import canonical_json, parse_line
from stepladder.tasks import ROLES_ALTERNATE, Case, Example, explain

LONGEST_LABEL = 80

_FORMS: dict[Kind, type[Example] | type[Case]] = {"examples": Example, "cases": Case}


@dataclass(slots=True)
class Arrived:
    """One line of a file that arrived. ``row`` is None where it has not its form; ``fault`` says why."""

    source: str
    raw: str
    row: Example | Case | None
    check: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is compared between rows; keys are digests of 16 bytes.

    ``asked`` is all that comes before the answer, ``turns`` the different user turns, ``endings`` the keys of
    what follows the blank lines of an example's turns, ``label`` the answer, cut, ``length`` the power of two
    above the characters of both.
    """

    id: str
    asked: bytes
    answer: bytes
    turns: tuple[str, ...]
    endings: tuple[bytes, ...]
    cluster: str
    slice: str
    label: str
    length: str
    evidence: tuple[str, ...]


def arrived_rows(path: Path, name: str, kind: Kind) -> Iterator[Arrived]:
    """The lines of a JSON Lines file that are not blank, sound or not."""
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            yield _arrived(line, f"{name}:{number}", kind)


def _arrived(line: bytes, source: str, kind: Kind) -> Arrived:
    try:
        raw = line.decode().strip()
    except UnicodeDecodeError as error:
        return Arrived(source, line.decode(errors="backslashreplace"), None, "form", f"not UTF-8: {error}")
    try:
        return Arrived(source, raw, with_id(_FORMS[kind].model_validate(parse_line(raw, source))))
    except StepladderError as error:
        return Arrived(source, raw, None, "form", error.what)
    except ValidationError as error:
        told = explain(error)
        return Arrived(source, raw, None, "roles" if ROLES_ALTERNATE in told else "form", told)


def with_id(row: Example | Case) -> Example | Case:
    """The row, with an id made of what it says where it came without one."""
    if row.id:
        return row
    found = traits(row)
    return row.model_copy(update={"id": f"in-{digest16(found.asked + found.answer).hex()[:16]}"})


def traits(row: Example | Case) -> Traits:
    """What is compared of a row."""
    asked, answer = asked_of(row), answer_of(row)
    turns: tuple[str, ...] = (row.input,)
    if isinstance(row, Example):
        turns = tuple(dict.fromkeys(m.content for m in row.messages if m.role == "user"))
    said = normal_form(answer)
    return Traits(
        id=row.id,
        asked=digest16(normal_form(asked).encode()),
        answer=digest16(said.encode()),
        turns=turns,
        endings=() if isinstance(row, Case) else tuple(_ending_keys(turns)),
        cluster=row.cluster,
        slice=row.slice,
        label=said[:LONGEST_LABEL],
        length=str(1 << (len(asked) + len(answer)).bit_length()),
        evidence=tuple(row.evidence),
    )


def _ending_keys(turns: Iterable[str]) -> Iterator[bytes]:
    return (digest16(ending.encode()) for turn in turns for ending in endings(turn))


def asked_of(row: Example | Case) -> str:
    """All that comes before the answer."""
    return row.input if isinstance(row, Case) else row.asked


def answer_of(row: Example | Case) -> str:
    """The answer as a text: a reference that is none as JSON."""
    if isinstance(row, Example):
        return row.output
    return row.reference if isinstance(row.reference, str) else canonical_json(row.reference)


def text_of(row: Example | Case) -> str:
    """All that a row says."""
    if isinstance(row, Case):
        return f"{row.input}\n{answer_of(row)}"
    return "\n".join(message.content for message in row.messages)


def line_of(row: Example | Case) -> str:
    """The row as a line of the dataset, with its line break."""
    return json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n"


def as_sent(raw: str) -> Any:
    """The JSON value of a line, or the line itself where it is none that a file could hold."""
    try:
        return parse_line(raw, "")
    except StepladderError:
        return raw


def digest16(content: bytes) -> bytes:
    """BLAKE2b of 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def turn_keys(found: Traits) -> list[bytes]:
    """The keys of a row's user turns and of their endings."""
    return [*map(turn_key, found.turns), *found.endings]


def turn_key(turn: str) -> bytes:
    """The key of a user turn: equal for turns equal but for case and white space."""
    return digest16(normal_form(turn).encode())
