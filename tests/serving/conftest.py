"""A gateway over a stub engine, in a thread, on a free port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.house import Gate, House, answering, house_in


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_in(tmp_path) as made:
        yield made


@pytest.fixture
def gate(house: House) -> Iterator[Gate]:
    with answering(house) as made:
        yield made
