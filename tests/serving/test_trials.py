"""A challenger with a share gets its users and keeps them; what they saw ends the trial."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.registry import Note
from serving.router import Lineup, Trial
from serving.settings import Canary
from serving.trials import Trials
from stepladder.engine import RunningEngine
from tests.serving.house import Gate, House, answering, house_in, task_of, wait_until
from tests.stub_engine import stub_engine


class Told:
    """Stands where the reconciler does."""

    def __init__(self, tried: bool = True) -> None:
        self.notes: list[Note] = []
        self.ended: set[str] = set()
        self.tried = tried

    def is_tried(self, _task: str, _trial: Trial) -> bool:
        return self.tried

    def has_end(self, _task: str, _trial: Trial, trial_id: str) -> bool:
        return trial_id in self.ended

    def note(self, notes: list[Note]) -> None:
        self.notes += notes
        self.ended |= {note.trial for note in notes}
        self.tried = False


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_in(tmp_path, lambda _: "champion") as made:
        yield made


def try_out(house: House, engine_url: str, share: float, shadow: bool = False) -> Trial:
    champion = house.router.lineups["plain"].champion
    assert champion
    made = house.serving(task_of("plain", house.folder), version="2", prompt_digest="2")
    challenger = type(made)(made.registered, made.task, RunningEngine(engine_url, "stub"))
    trial = Trial("1", "2", share, shadow)
    house.router.put("plain", Lineup({"champion": champion, "challenger": challenger}, trial=trial))
    return trial


def ask(gate: Gate, users: int, times: int = 1) -> dict[str, set[str]]:
    """What each user was told."""
    told: dict[str, set[str]] = {}
    with gate.http() as client:
        for number in range(users * times):
            user = f"u{number % users}"
            body = {"model": "plain", "user": user, "messages": [{"role": "user", "content": f"q{number}"}]}
            answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
            told.setdefault(user, set()).add(answer["choices"][0]["message"]["content"])
    return told


def steps(gate: Gate) -> list[str]:
    return [event["step"] for event in gate.records("trial")]


def look(gate: Gate, told: Told, times: int = 1) -> None:
    """Let trials be looked at, on the gateway's own loop where its store answers."""
    trials: Any = Trials(gate.gateway, told)  # type: ignore[arg-type]

    async def looks() -> None:
        for _ in range(times):
            await trials.step()

    asyncio.run(looks())


def test_users_stay_with_the_release_that_they_drew_and_share_is_held(house: House) -> None:
    with stub_engine(lambda _: "challenger") as other, answering(house) as gate:
        try_out(house, other.url, share=0.3)
        told = ask(gate, users=60, times=2)
        assert all(len(answers) == 1 for answers in told.values())
        assert 8 <= sum(answers == {"challenger"} for answers in told.values()) <= 28
        look(gate, Told())
        event = gate.records("trial")[-1]
        assert event["step"] == "go on"
        assert event["exposure"] == sum(answers == {"challenger"} for answers in told.values())


def test_a_challenger_that_fails_is_sent_back_and_one_that_does_well_promoted(house: House) -> None:
    margins = dict.fromkeys(("errors", "invalid", "abstained", "slow", "displeased"), 0.9)
    house.settings = house.settings.model_copy(
        update={"canary": Canary(least=20, feedback_after_s=0, margins=margins)}
    )
    with stub_engine(lambda _: "challenger") as other, answering(house) as gate:
        try_out(house, other.url, share=0.5)
        ask(gate, users=100)
        told = Told()
        look(gate, told, times=2)
        assert [note.kind for note in told.notes] == ["promoted"], "said once"
        assert told.notes[0].champion == "1"
        assert "it is no worse" in told.notes[0].reason

        other.says = lambda _: 500
        assert steps(gate) == ["begin", "promote"]
        with gate.http() as client:
            for number in range(100):
                body = {
                    "model": "plain",
                    "user": f"v{number}",
                    "messages": [{"role": "user", "content": "q"}],
                }
                client.post("/v1/chat/completions", json=body)
                if number == 0:
                    told.tried = True
                    look(gate, told)
                    assert steps(gate)[2:] == ["begin", "go on"], "a trial after one that ended begins anew"
        look(gate, told)
        assert [note.kind for note in told.notes] == ["promoted", "tried"]
        assert "sent back: it is worse: errors" in told.notes[1].reason
        assert told.notes[0].trial != told.notes[1].trial


def test_a_decision_that_a_kill_kept_from_the_registry_is_told_again(house: House) -> None:
    margins = dict.fromkeys(("errors", "invalid", "abstained", "slow", "displeased"), 0.9)
    house.settings = house.settings.model_copy(
        update={"canary": Canary(least=20, feedback_after_s=0, margins=margins)}
    )
    with stub_engine(lambda _: "challenger") as other, answering(house) as gate:
        try_out(house, other.url, share=0.5)
        ask(gate, users=100)
        look(gate, told := Told())
        (note,) = told.notes
        look(gate, after := Told(), times=2)  # another process: the registry knows nothing of the end
        assert after.notes == [note]
        assert steps(gate) == ["begin", "promote"], "it is no trial anew"
        half = Told()
        half.is_tried = lambda _, trial: trial == Trial("2", "2", 0.0)  # type: ignore[method-assign]
        look(gate, half)  # the kill came after the promotion
        assert half.notes == [note]
        look(gate, changed := Told(tried=False))  # a person ended it meanwhile
        assert changed.notes == []
        assert steps(gate) == ["begin", "promote", "stopped"]


def test_a_trial_that_a_person_ended_is_over_and_the_next_begins_anew(house: House) -> None:
    with stub_engine(lambda _: "challenger") as other, answering(house) as gate:
        try_out(house, other.url, share=0.5)
        ask(gate, users=10)
        told = Told()
        look(gate, told)
        told.tried = False
        house.router.put("plain", Lineup({"champion": house.router.lineups["plain"].servings["champion"]}))
        look(gate, told, times=2)
        assert steps(gate) == ["begin", "go on", "stopped"]
        told.tried = True
        try_out(house, other.url, share=0.5)
        look(gate, told)
        assert steps(gate)[3:] == ["begin", "go on"]
        assert gate.records("trial")[-1]["exposure"] == 0


def test_where_the_champion_fails_the_pair_counts_too(house: House) -> None:
    house.engine.says = lambda _: 500
    with stub_engine(lambda _: "challenger") as other, answering(house) as gate, gate.http() as client:
        try_out(house, other.url, share=0.999, shadow=True)
        body = {"model": "plain", "user": "u", "messages": [{"role": "user", "content": "q"}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 502
        wait_until(lambda: len(gate.records("shadow")) == 1)
        assert gate.records("shadow")[0]["outcome"] == "answered"
        assert gate.records("shadow")[0]["same"] is False


def test_a_shadow_answers_unseen_and_is_recorded_beside_what_was_seen(house: House) -> None:
    with stub_engine(lambda _: "Champion!") as other, answering(house) as gate:
        try_out(house, other.url, share=0.5, shadow=True)
        told = ask(gate, users=40)
        assert all(answers == {"champion"} for answers in told.values())
        wait_until(lambda: other.finished == len(gate.records("shadow")) > 5)
        pairs = gate.records("shadow")
        assert {one["interaction"] for one in pairs} < {one["interaction"] for one in gate.records("asked")}
        assert all(one["answer"] == "Champion!" and one["valid"] for one in pairs)
        look(gate, Told())
        event = gate.records("trial")[-1]
        assert event["exposure"] == len(pairs)
        assert event["agreement"] == float(pairs[0]["same"])
