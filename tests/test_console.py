"""What is said is said as it is."""

from __future__ import annotations

import pytest

from stepladder.console import console, say


def test_square_brackets_of_an_id_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.cache_clear()
    say("look at case-[bold]1 and [/x]")
    assert capsys.readouterr().err == "look at case-[bold]1 and [/x]\n"
    console.cache_clear()
