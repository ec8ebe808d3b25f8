"""Where no terminal limits them, tables are as wide as they need: nothing is cut or broken."""

from __future__ import annotations

import pytest

from stepladder.ladder.compare import compare_releases
from stepladder.ladder.verdict import decide
from stepladder.tables import print_comparison, print_verdicts
from tests.ladder.conftest import EVALUATION, SCORES, make_evidence, make_outcomes


def test_a_verdict_has_a_row_for_each_rung_and_its_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    made = decide(make_evidence({rung: make_outcomes(rung, score) for rung, score in SCORES.items()}))
    print_verdicts([made])
    said = capsys.readouterr().out.splitlines()
    assert said[1].strip() == f"{made.task}: bar {made.bar:.2f}, margin {made.margin:.2f}"
    assert made.sentence in said
    for name, rung in made.rungs.items():
        (row,) = [line for line in said if line.startswith((f"│ {name} ", f"│ {name} <"))]
        assert f"{rung.score:.3f}" in row
        assert f"{rung.latency_p95_ms:,.0f}" in row


def test_a_comparison_tells_inputs_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = make_outcomes("rag", 0.5), make_outcomes("lora+rag", 0.7)
    longest = "Which [bold] option " + "and which other " * 20
    asked = [
        one.model_copy(update={"outcomes": [o.model_copy(update={"input": longest}) for o in one.outcomes]})
        for one in (before, after)
    ]
    found = compare_releases(("v1", asked[0]), ("v2", asked[1]), EVALUATION, lambda said: said)
    print_comparison(found)
    said = capsys.readouterr().out
    assert f"gained: {len(found.gained)}" in said
    assert said.count(longest.strip()) == min(20, len(found.gained)) + min(20, len(found.lost))
