"""What is recorded stays: redacted, append-only, through kill -9, until its retention ends."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.redaction import UNREAD, redactor
from serving.settings import Pattern, ServingSettings, load_serving_settings
from serving.store import Event, Store
from stepladder.errors import StepladderError
from tests.serving.house import ROOT, read_records, wait_until

EMAIL = Pattern(name="email", pattern=r"\S+@\S+")


def event(number: int, at: float | None = None, text: str = "hello") -> Event:
    return Event("asked", f"i{number}", "t", "r", {"text": text}, time.time() if at is None else at)


def store_in(folder: Path, **options: object) -> Store:
    arguments = {"redact": redactor([EMAIL]), "retention_days": 1, "most_pending": 1000, **options}
    return Store(folder / "records.sqlite", **arguments)  # type: ignore[arg-type]


def test_all_that_was_appended_is_there_in_order_and_redacted(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for number in range(700):
        store.append(event(number, text=f"write to a{number}@example.org\nplease"))
    store.close()

    records = read_records(tmp_path / "records.sqlite")
    assert [record["interaction"] for record in records] == [f"i{number}" for number in range(700)]
    assert {record["text"] for record in records} == {"write to [email]\nplease"}
    assert b"example.org" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_an_id_is_no_number_of_anybodys(tmp_path: Path) -> None:
    store = store_in(tmp_path, redact=redactor(load_serving_settings(ROOT / "serving.yaml").redact))
    store.append(Event("asked", "i1", "t", "r", {"unit": "4111111111111111", "n": "4111111111111111"}, 1e10))
    store.close()
    (record,) = read_records(tmp_path / "records.sqlite")
    assert (record["unit"], record["n"]) == ("4111111111111111", "[card]")


def test_what_was_appended_is_read_back_at_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.append(event(1))
    found = asyncio.run(store.events("i1"))
    store.close()
    assert [one.body for one in found] == [{"text": "hello"}]


def test_no_event_can_be_changed(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.append(event(1))
    store.close()
    with sqlite3.connect(tmp_path / "records.sqlite") as connection, pytest.raises(sqlite3.Error):
        connection.execute("UPDATE events SET body = '{}'")


def test_what_is_older_than_its_retention_is_deleted_from_the_file_itself(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.append(event(1, at=time.time() - 2 * 86400, text="OLDSECRET"))
    store.append(event(2))
    store.close()
    store = store_in(tmp_path)
    store.append(event(3))
    store.close()

    assert [record["interaction"] for record in read_records(tmp_path / "records.sqlite")] == ["i2", "i3"]
    assert b"OLDSECRET" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_full_queue_drops_and_counts_and_never_waits(tmp_path: Path) -> None:
    dropped: list[int] = []
    store = store_in(tmp_path, most_pending=0, on_drop=lambda: dropped.append(1))
    store.append(event(1))
    store.close()
    assert (len(dropped), read_records(tmp_path / "records.sqlite")) == (1, [])


def test_an_event_that_cannot_be_told_is_lost_alone_and_counted(tmp_path: Path) -> None:
    dropped: list[int] = []
    store = store_in(tmp_path, on_drop=lambda: dropped.append(1))
    store.append(Event("asked", "i1", "t", "r", {"text": object()}, time.time()))
    store.append(event(2))
    asyncio.run(store.committed())
    assert store.healthy
    store.close()
    assert [record["interaction"] for record in read_records(tmp_path / "records.sqlite")] == ["i2"]
    assert len(dropped) == 1


def test_a_store_that_another_process_holds_catches_up_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.store._RETRY_S", 0.01)
    store = store_in(tmp_path)
    store._connection.execute("PRAGMA busy_timeout = 10")
    with sqlite3.connect(tmp_path / "records.sqlite") as holder:
        holder.execute("BEGIN IMMEDIATE")
        store.append(event(1))
        wait_until(lambda: not store.healthy, timeout_s=10)
        assert not store.healthy
        holder.rollback()
    asyncio.run(store.committed())
    assert store.healthy
    store.close()
    assert len(read_records(tmp_path / "records.sqlite")) == 1


def test_who_gives_up_waiting_for_a_store_that_is_held_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.store._RETRY_S", 0.01)
    store = store_in(tmp_path)
    store._connection.execute("PRAGMA busy_timeout = 10")

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await store.committed()

    with sqlite3.connect(tmp_path / "records.sqlite") as holder:
        holder.execute("BEGIN IMMEDIATE")
        store.append(event(1))
        asyncio.run(impatient())
        holder.rollback()
    store.append(event(2))
    asyncio.run(asyncio.wait_for(store.committed(), 10))
    assert store.healthy
    store.close()
    assert len(read_records(tmp_path / "records.sqlite")) == 2


def test_text_that_is_no_utf8_is_kept_too(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.append(event(1, text="half \ud800 and \x00"))
    store.close()
    assert read_records(tmp_path / "records.sqlite")[0]["text"] == "half \ud800 and \x00"


def test_a_file_that_is_no_store_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_text("no database at all, but long enough to look at" * 50)
    with pytest.raises(StepladderError, match="cannot open the record") as caught:
        store_in(tmp_path)
    assert "records.path" in caught.value.remedy


WRITER = """
import asyncio, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from serving.redaction import UNREAD, redactor
from serving.store import Event, Store
store = Store(Path(sys.argv[1]), redactor([]), 1, 100_000)
async def write():
    for number in range(100_000):
        for part in range(20):
            store.append(Event("asked", f"i{number}-{part}", "t", "r", {}, time.time()))
        await store.committed()
        print(number, flush=True)
asyncio.run(write())
"""


def test_kill_9_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """A process that writes without pause is killed thrice; each number it told is there, whole."""
    path = tmp_path / "records.sqlite"
    told = 0
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for _ in range(30):
                last = int(process.stdout.readline())
            process.kill()
        told += 20 * (last + 1)
        assert len(read_records(path)) >= told
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mail jane.doe+x@mail.example.co.uk now", "mail [email] now"),
        ("<a.b@x.org>, c@y.z.", "<[email]>, [email]."),
        ("x" * 70 + "@example.org", "[email]"),
        ("key sk-abcdefghijklmnopqrstuv.", "key [api key]."),
        ("our own sl-Zm9vYmFyYmF6cXV4cXV1eA_-x", "our own [api key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[aws key]"),
        ("password: hunter2 then", "password[password] then"),
        ("card 4111 1111 1111 1111", "card [card]"),
        ("IBAN DE89 3704 0044 0532 0130 00.", "IBAN [iban]."),
        ("call +44 20 7946 0958 today", "call [phone] today"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "[private key]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "[token]"),
        ("a eyJhbGciOiJub25lIn0.eyJ" + "x" * 5000 + ". b", "a [token] b"),
        ("port 8080 and version 3.11.7 of 2026-11-22", "port 8080 and version 3.11.7 of 2026-11-22"),
    ],
)
def test_the_patterns_that_come_with_it(text: str, left: str) -> None:
    redact = redactor(load_serving_settings(ROOT / "serving.yaml").redact)
    assert redact({"messages": [{"content": text}]}) == {"messages": [{"content": left}]}


@pytest.mark.parametrize(
    "part", ["a", "a.", "a@", "eyJ-", "eyJaaaaaaaa.", "1-", "AB12", "sk-", "+1", "password "]
)
def test_no_text_takes_the_patterns_that_come_with_it_much_longer_than_prose(part: str) -> None:
    redact = redactor(load_serving_settings(ROOT / "serving.yaml").redact)

    def took(words: str) -> float:
        text, times = words * (32_000 // len(words)), []
        for _ in range(5):
            began = time.perf_counter()
            redact(text)
            times.append(time.perf_counter() - began)
        return min(times)

    assert took(part) < 25 * took("The quick brown fox jumps over 12 lazy dogs. ")


def test_a_pattern_that_takes_too_long_costs_the_text_and_no_other_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.redaction._LONGEST_S", 0.3)
    redact = redactor([Pattern(name="slow", pattern=r"(?:\w+\s?)+\w+$")])
    secret = "secret " * 5000 + "!"
    with ThreadPoolExecutor(1) as other:
        under_way = other.submit(redact, {"a": secret, "b": "short one"})
        longest, last = 0.0, time.perf_counter()
        while not under_way.done():
            time.sleep(0.001)
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert under_way.result() == {"a": UNREAD, "b": "[slow]"}
    assert longest < 0.25


def test_a_pattern_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        ServingSettings.model_validate({"redact": [{"name": "x", "pattern": "("}]})
