import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepladder.cache import Cache
from stepladder.errors import StepladderError


def test_entries_outlive_the_process_that_put_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.db"
    with Cache(path) as cache:
        cache.put({"a": b"1", "b": b"2"})
        cache.put({"b": b"3"})
    with Cache(path) as cache:
        assert cache.get(["a", "b", "gone", "a"]) == {"a": b"1", "b": b"3"}
        assert cache.get([]) == {}


def test_more_keys_than_one_query_may_hold(tmp_path: Path) -> None:
    entries = {f"k{number}": str(number).encode() for number in range(1203)}
    with Cache(tmp_path / "cache.db") as cache:
        cache.put(entries)
        assert cache.get([*entries, "gone"]) == entries


def test_threads_put_and_get_at_once(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache.db") as cache:

        def work(number: int) -> bool:
            mine = {f"{number}-{part}": b"x" for part in range(50)}
            cache.put(mine)
            return cache.get(mine) == mine

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(40)))


def test_a_put_that_fails_adds_nothing(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache.db") as cache:
        with pytest.raises(StepladderError, match="cannot write the cache"):
            cache.put({"a": b"1", "b": object()})  # type: ignore[dict-item]
        assert cache.get(["a", "b"]) == {}


def test_a_file_that_is_no_cache_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StepladderError, match="cannot open the cache: file is not a database") as caught:
        Cache(path)
    assert caught.value.where == str(path)
    assert "delete the file" in caught.value.remedy


def test_a_place_that_cannot_hold_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StepladderError, match="cannot open the cache"):
        Cache(tmp_path / "file" / "cache.db")


def test_a_cache_damaged_after_it_was_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with Cache(path) as cache:
        cache.put({"a": b"1"})
        other = sqlite3.connect(path)
        other.execute("DROP TABLE entries")
        other.close()
        with pytest.raises(StepladderError, match="cannot read the cache: no such table"):
            cache.get(["a"])


def test_a_full_disk_is_told_and_loses_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with Cache(path) as cache:
        cache.put({"a": b"1"})
        cache._connection.execute("PRAGMA max_page_count = 4")
        with pytest.raises(StepladderError, match="database or disk is full") as caught:
            cache.put({"b": b"x" * 100_000})
        assert "free some disk space" in caught.value.remedy
        assert cache.get(["a", "b"]) == {"a": b"1"}
