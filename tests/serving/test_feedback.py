"""Feedback is tied to an interaction; corrections become examples that ingestion can read."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from serving.router import Lineup
from stepladder.tasks import Example
from tests.serving.house import ABSTENTION, Gate, House, answering, task_of, wait_until

QUESTION = [{"role": "user", "content": "Mail me@example.org: what is the default of state?"}]


def ask(gate: Gate, model: str = "docs", messages: list | None = None) -> str:
    answer = gate.openai().chat.completions.create(model=model, messages=messages or QUESTION)
    return str(answer.id)


def give(gate: Gate, interaction: str, **told: object):  # noqa: ANN201
    with gate.http("feedback") as client:
        return client.post("/v1/feedback", json={"interaction": interaction, **told})


def rows(gate: Gate, task: str = "docs") -> list[Example]:
    folder = Path(gate.house.settings.inbox) / task / "corrections"
    return [
        Example.model_validate(json.loads(line))
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_a_thumb_is_recorded_beside_its_interaction(gate: Gate) -> None:
    interaction = ask(gate)
    assert give(gate, interaction, thumb="up", comment="thanks, me@example.org").status_code == 200

    asked, answered, feedback = gate.records()
    assert {asked["interaction"], answered["interaction"], feedback["interaction"]} == {interaction}
    assert (feedback["thumb"], feedback["comment"]) == ("up", "thanks, [email]")
    assert rows(gate) == []


def test_a_correction_becomes_a_redacted_example(gate: Gate) -> None:
    answer = give(gate, ask(gate), thumb="down", correction="enabled, says me@example.org")

    row = rows(gate)[0]
    assert answer.json()["row"] == f"docs/corrections/{row.id}.jsonl"
    assert row.input == "Mail [email]: what is the default of state?"
    assert (row.output, row.answerable) == ("enabled, says [email]", True)
    assert not [path for path in Path(gate.house.settings.inbox).rglob("*") if path.name.startswith(".")]


def test_a_correction_that_is_sent_again_is_one_row(gate: Gate) -> None:
    interaction = ask(gate)
    first, second = (give(gate, interaction, correction="enabled") for _ in range(2))
    assert first.json() == second.json()
    assert len(rows(gate)) == 1
    give(gate, interaction, correction="disabled")
    assert len(rows(gate)) == 2


def test_a_correction_goes_to_an_inbox_at_a_url(house: House) -> None:
    import fsspec

    house.settings = house.settings.model_copy(update={"inbox": "memory://corrected"})
    with answering(house) as gate:
        row = give(gate, ask(gate), correction="enabled").json()["row"]
        files = fsspec.filesystem("memory")
        assert json.loads(files.cat(f"/corrected/{row}"))["messages"][-1]["content"] == "enabled"
        files.rm("/corrected", recursive=True)


@pytest.mark.parametrize("correction", [ABSTENTION.lower(), f"{ABSTENTION} Ask the team."])
def test_a_correction_that_abstains_is_an_unanswerable_example(gate: Gate, correction: str) -> None:
    give(gate, ask(gate), correction=correction)
    assert rows(gate)[0].answerable is False


def test_a_conversation_is_kept_where_its_turns_alternate(gate: Gate) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    give(gate, ask(gate, messages=[*turns, *QUESTION]), correction="c")
    give(gate, ask(gate, messages=[*turns[1:], *QUESTION]), correction="d")
    assert sorted((row.output, len(row.messages)) for row in rows(gate)) == [("c", 4), ("d", 2)]


def test_a_correction_must_be_in_the_tasks_form(house: House) -> None:
    schema = {"type": "object", "required": ["a"]}
    task = task_of("json", house.folder, output_schema=schema)
    house.router.put("json", Lineup({"champion": house.serving(task)}))
    with answering(house) as gate:
        interaction = ask(gate, "json")
        refused = give(gate, interaction, correction='{"b": 1}')
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "wrong_form")
        assert give(gate, interaction, correction='{"a": 1}').status_code == 200
        assert len(rows(gate, "json")) == 1


def test_a_correction_waits_until_it_is_known_what_the_task_asks_for(house: House) -> None:
    with answering(house) as gate:
        interaction = ask(gate)
        loaded = house.router.lineups["docs"]
        house.router.put("docs", Lineup({}))
        refused = give(gate, interaction, correction=ABSTENTION)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_champion")
        assert give(gate, interaction, thumb="down").status_code == 200
        house.router.put("docs", loaded)
        assert give(gate, interaction, correction=ABSTENTION).status_code == 200
        assert [row.answerable for row in rows(gate)] == [False]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({}, 400),
        ({"thumb": "sideways"}, 400),
        ({"correction": "  "}, 400),
        ({"comment": "x" * 40_000}, 400),
        ({"unknown": 1, "thumb": "up"}, 400),
        ({"interaction": "chatcmpl-0", "thumb": "up"}, 404),
        ({"interaction": "' OR 1=1 --", "thumb": "up"}, 404),
        ({"interaction": "../../x", "correction": "x"}, 404),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused(gate: Gate, told: dict, status: int) -> None:
    answer = give(gate, **{"interaction": ask(gate), **told})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert gate.records("feedback") == []
    assert rows(gate) == []


def test_feedback_is_confirmed_only_when_it_is_on_the_disk(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.feedback._PATIENCE_S", 0.3)
    interaction = ask(gate)
    gate.records()
    store = gate.gateway.store
    with sqlite3.connect(gate.house.settings.records.path) as holder:
        holder.execute("BEGIN IMMEDIATE")
        refused = give(gate, interaction, thumb="up")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_recorded")
        assert refused.headers["retry-after"]
        holder.rollback()
    wait_until(lambda: give(gate, interaction, thumb="up").status_code == 200)
    assert [event["thumb"] for event in gate.records("feedback")][-1] == "up"

    monkeypatch.setattr(store, "_most_pending", 0)  # records are dropped now, and feedback is none of them
    assert give(gate, interaction, thumb="down").status_code == 200
    assert [event["thumb"] for event in gate.records("feedback")][-1] == "down"


def test_what_was_answered_is_recorded_with_its_chunks_and_times(gate: Gate) -> None:
    ask(gate)
    asked, answered = gate.records()
    assert asked["messages"] == [{"role": "user", "content": "Mail [email]: what is the default of state?"}]
    assert (asked["version"], len(asked["trace"])) == ("1", 32)
    assert answered["outcome"] == "answered"
    assert answered["chunks"][0][0] == "ufw#options/state"
    assert answered["completion_tokens"] == 3
    assert answered["latency_ms"] >= answered["engine_ms"] > 0


def test_kill_9_of_the_gateway_keeps_what_was_asked_and_answered(tmp_path: Path) -> None:
    """See ``kill_gateway.py``: the gateway runs in a process of its own and is killed under load."""
    from tests.serving.kill_gateway import killed_under_load

    delivered, records = killed_under_load(tmp_path)
    asked = {record["interaction"] for record in records if record["kind"] == "asked"}
    assert len(delivered) >= 40
    assert delivered <= asked
