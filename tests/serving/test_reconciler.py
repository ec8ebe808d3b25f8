"""What answers follows the registry: through failing releases, dying engines, outages and restarts."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest

from serving.engines import NoRoomError
from serving.loading import UnfetchedError
from serving.models import MachineError
from serving.registry import Note
from serving.router import Router, Trial
from serving.smoke import MismatchError, RefusalError
from stepladder.errors import StepladderError
from stepladder.promotion import Standing
from stepladder.serving_record import read_record
from tests.serving.reconciling import TASK, Shop, reconciler_of, shop_in


def play(folder: Path, champion: str | None, story: Callable[[Shop], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        shop = shop_in(folder, champion)
        try:
            await story(shop)
        finally:
            await shop.reconciler._close()
        assert not shop.loader.live, "every engine is ended"

    asyncio.run(whole())


def test_a_promotion_is_followed_and_the_old_one_waits_for_a_rollback(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        shop.registry.promote("2")
        await shop.answers_with("2")
        assert shop.registry.standing.previous == "1"
        await shop.reconciler.step()
        assert set(shop.router.lineups[TASK].servings) == {"champion", "previous"}
        shop.registry.promote("1")
        await shop.answers_with("1")
        assert shop.loader.loads == ["1", "2"], "a rollback loads nothing"
        assert shop.registry.standing.versions["1"].passed

    play(tmp_path, "1", story)


def test_a_release_that_fails_its_smoke_cases_never_answers_and_is_marked(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        shop.loader.faults["2"] = lambda: RefusalError("3 of 5 smoke cases")
        shop.registry.promote("2")
        await shop.until(lambda: bool(shop.registry.standing.versions["2"].refused))
        await shop.reconciler.step()
        assert shop.registry.standing.versions["2"].refused == "3 of 5 smoke cases"
        assert shop.answers == "1"
        record = read_record(tmp_path / "serving.json")
        assert record
        assert record.tasks[TASK].why == "version 2 was refused: 3 of 5 smoke cases; version 1 answers"
        assert shop.loader.loads == ["1", "2"], "it is not tried again"

    play(tmp_path, "1", story)


def test_a_new_release_that_does_not_start_is_refused_after_some_attempts(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.loader.faults["2"] = lambda: StepladderError("the engine ended")
        shop.registry.promote("2")
        await shop.until(lambda: bool(shop.registry.standing.versions["2"].refused))
        assert shop.loader.loads == ["2", "2", "2"]
        assert shop.answers is None
        assert shop.router.lineups[TASK].reason == "no release of this task answers now"

    play(tmp_path, None, story)


def test_why_nothing_answers_is_told_the_operator_without_passwords_and_clients_not_at_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(shop: Shop) -> None:
        shop.loader.faults["1"] = lambda: StepladderError("down", where="http://u:secret@qdrant:6333")
        for _ in range(2):  # while it is tried again, and when it is refused
            await shop.until(lambda: bool(shop.loader.loads))
            await shop.reconciler.step()
            assert shop.router.lineups[TASK].reason == "no release of this task answers now"
            record = read_record(tmp_path / "serving.json")
            assert record
            assert "http://qdrant:6333: down" in record.tasks[TASK].why
            await shop.until(lambda: bool(shop.registry.standing.versions["1"].refused))
        assert shop.registry.standing.versions["1"].refused == "http://qdrant:6333: down"

    play(tmp_path, "1", story)
    assert "http://qdrant:6333: down" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        UnfetchedError("down"),
        MachineError("another base model"),
        StepladderError("Qdrant is down", may_pass=True),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    ],
)
def test_what_is_no_fault_of_the_release_is_tried_until_it_passes(tmp_path: Path, fault: Exception) -> None:
    async def story(shop: Shop) -> None:
        faults = iter([fault] * 6)
        shop.loader.faults["1"] = lambda: next(faults, None)
        await shop.answers_with("1")
        assert len(shop.loader.loads) == 7
        assert shop.registry.standing.versions["1"].refused is None

    play(tmp_path, "1", story)


def test_an_engine_that_dies_is_healed(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        first = shop.router.lineups[TASK].champion
        shop.loader.kill_all()
        await shop.until(lambda: shop.router.lineups[TASK].champion is not first)
        assert shop.answers == "1"
        await shop.until(lambda: len(shop.loader.live) == 1)

    play(tmp_path, "1", story)


def test_smoke_cases_that_fail_for_a_release_that_passed_before_are_this_machines_trouble(
    tmp_path: Path,
) -> None:
    async def story(shop: Shop) -> None:
        await shop.until(lambda: shop.registry.standing.versions["1"].passed)
        faults = iter([MismatchError("3 of 5 smoke cases")] * 4)
        shop.loader.faults["1"] = lambda: next(faults, None)
        shop.loader.kill_all()
        await shop.until(lambda: len(shop.loader.loads) > 1)
        await shop.reconciler.step()
        record = read_record(tmp_path / "serving.json")
        assert record
        assert "something is wrong with this machine: 3 of 5 smoke cases" in record.tasks[TASK].why
        await shop.until(lambda: len(shop.loader.loads) == 6)
        assert shop.registry.standing.versions["1"].refused is None
        assert shop.answers == "1"

    play(tmp_path, "1", story)


def test_a_release_that_passed_elsewhere_meanwhile_is_not_refused_for_what_is_wrong_here(
    tmp_path: Path,
) -> None:
    async def story(shop: Shop) -> None:
        def passes_elsewhere() -> Exception:
            standing = shop.registry.standing
            passed = standing.versions["1"].model_copy(update={"passed": True})
            versions = {**standing.versions, "1": passed}
            shop.registry.standing = standing.model_copy(update={"versions": versions})
            shop.reconciler._wanted = {TASK: shop.registry.standing}
            del shop.loader.faults["1"]
            return MismatchError("3 of 5 smoke cases")

        shop.loader.faults["1"] = passes_elsewhere
        await shop.answers_with("1")
        assert shop.registry.standing.versions["1"].refused is None

    play(tmp_path, "1", story)


def test_with_the_registry_away_the_champion_goes_on_and_comes_back_after_a_kill(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        shop.registry.away = True
        await shop.reconciler.step()
        assert shop.answers == "1"
        record = read_record(tmp_path / "serving.json")
        assert record
        assert record.registry == "refused"

        router = Router()
        after = Shop(
            router,
            shop.registry,
            shop.loader,
            reconciler_of(router, shop.registry, shop.loader, tmp_path),
        )
        await after.answers_with("1")
        await after.reconciler._close()

    play(tmp_path, "1", story)


def test_what_was_not_written_into_the_registry_is_written_when_it_is_back(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.reconciler.step()

        def fails() -> Exception:
            shop.registry.away = True
            return RefusalError("wrong")

        shop.loader.faults["2"] = fails
        shop.registry.promote("2")
        await shop.until(lambda: shop.registry.away)
        for _ in range(5):
            await shop.reconciler.step()
        assert shop.loader.loads == ["2"]
        shop.registry.away = False
        await shop.until(lambda: shop.registry.standing.versions["2"].refused == "wrong")

    play(tmp_path, None, story)


def test_without_memory_for_two_engines_the_champion_is_drained_first(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.loader.faults["2"] = lambda: NoRoomError(1.0) if shop.loader.live else None
        await shop.answers_with("1")
        old = shop.router.lineups[TASK].champion
        assert old
        with shop.router.using(old):
            shop.registry.promote("2")
            await shop.answers_with(None)
            await shop.reconciler.step()
            assert [version for version, _ in shop.loader.live] == ["1"], "a request still holds it"
        await shop.answers_with("2")

    play(tmp_path, "1", story)


def test_a_challenger_takes_its_share_beside_the_champion_until_its_trial_ends(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        shop.registry.try_out("2", 0.2)
        await shop.until(lambda: shop.router.lineups[TASK].trial == Trial("1", "2", 0.2))
        assert set(shop.router.lineups[TASK].servings) == {"champion", "challenger"}
        assert shop.reconciler.is_tried(TASK, Trial("1", "2", 0.2))
        assert not shop.reconciler.is_tried(TASK, Trial("1", "2", 0.3))
        shop.loader.kill_all()
        await shop.until(lambda: shop.loader.loads == ["1", "2", "1", "2"])
        await shop.until(lambda: shop.router.lineups[TASK].trial is not None)

        assert not shop.reconciler.has_end(TASK, Trial("1", "2", 0.2), "a")
        shop.reconciler.note([Note(TASK, "2", "promoted", "well", champion="1", trial="a")])
        assert shop.reconciler.has_end(TASK, Trial("1", "2", 0.2), "a")
        assert not shop.reconciler.is_tried(TASK, Trial("1", "2", 0.2))
        await shop.answers_with("2")
        assert shop.router.lineups[TASK].trial is None
        assert shop.registry.standing.previous == "1"
        assert len(shop.loader.loads) == 4, "it was loaded already"

    play(tmp_path, "1", story)


def test_a_challenger_made_champion_by_hand_is_not_on_trial_again_once_it_is_rolled_back(
    tmp_path: Path,
) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        shop.registry.try_out("2", 0.2)
        await shop.until(lambda: shop.router.lineups[TASK].trial is not None)
        shop.registry.move_alias("2")
        await shop.answers_with("2")
        await shop.until(lambda: not shop.registry.standing.versions["2"].share)
        shop.registry.move_alias("1")
        await shop.answers_with("1")
        for _ in range(5):
            await shop.reconciler.step()
            assert shop.router.lineups[TASK].trial is None

    play(tmp_path, "1", story)


def test_a_challenger_that_fails_its_smoke_cases_gets_no_share(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.loader.faults["2"] = lambda: RefusalError("3 of 5 smoke cases")
        shop.registry.try_out("2", 0.2)
        await shop.until(lambda: bool(shop.registry.standing.versions["2"].refused))
        await shop.answers_with("1")
        assert shop.router.lineups[TASK].trial is None

    play(tmp_path, "1", story)


def test_a_promotion_that_is_written_late_does_not_undo_what_a_person_decided(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        shop.registry.away = True
        shop.reconciler.note([Note(TASK, "2", "promoted", champion="1")])
        await shop.answers_with("2")
        shop.registry.promote("3")
        shop.registry.away = False
        await shop.answers_with("3")
        await shop.reconciler.step()
        assert shop.registry.standing.champion == "3"

    play(tmp_path, "1", story)


def test_who_waits_for_a_champion_hears_of_it_whenever_it_is_what_answers(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.until(lambda: shop.registry.live("1"))
        shop.loader.faults["2"] = lambda: UnfetchedError("down")
        shop.registry.promote("2")
        await shop.reconciler.step()
        await shop.reconciler.step()
        assert not shop.registry.live("2"), "1 still answers"
        shop.registry.promote("1")
        await shop.until(lambda: shop.registry.live("1"))  # though nothing had to be switched
        shop.registry.promote("1")
        await shop.until(lambda: shop.registry.live("1"))  # the same again

        shop.loader.kill_all()
        shop.registry.promote("1")
        shop.loader.faults["1"] = lambda: UnfetchedError("down")
        await shop.reconciler.step()
        await shop.reconciler.step()
        assert not shop.registry.live("1"), "its engine is dead"
        del shop.loader.faults["1"]
        await shop.until(lambda: shop.registry.live("1"))

    play(tmp_path, "1", story)


def test_after_a_restart_the_champion_before_is_loaded_too_so_that_a_rollback_only_switches(
    tmp_path: Path,
) -> None:
    async def story(shop: Shop) -> None:
        shop.registry.standing = shop.registry.standing.model_copy(update={"previous": "1"})
        await shop.answers_with("2")
        await shop.until(lambda: set(shop.router.lineups[TASK].servings) == {"champion", "previous"})
        shop.registry.promote("1")
        await shop.answers_with("1")
        assert shop.loader.loads == ["2", "1"]

    play(tmp_path, "2", story)


def test_what_neither_an_alias_names_nor_anything_holds_may_go_from_the_disk(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        for version in "23":
            shop.registry.promote(version)
            await shop.answers_with(version)
        await shop.until(lambda: bool(shop.loader.needed))
        assert {"2", "3"} <= shop.loader.needed[-1]
        assert "1" not in shop.loader.needed[-1]

    play(tmp_path, "1", story)


def test_the_champion_before_stays_away_where_there_is_no_memory_for_it(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.registry.standing = shop.registry.standing.model_copy(update={"previous": "1"})
        shop.loader.faults["1"] = lambda: NoRoomError(1.0) if shop.loader.live else None
        await shop.answers_with("2")
        await shop.until(lambda: shop.loader.loads.count("1") == 3)
        assert shop.answers == "2"
        assert [version for version, _ in shop.loader.live] == ["2"]

    play(tmp_path, "2", story)


def test_an_engine_that_forgot_its_adapter_gets_it_again_without_another_load(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        ((_, engine),) = shop.loader.live
        engine.name = "base"
        await shop.until(lambda: shop.loader.mended[:1] == ["1"])
        engine.name = "stub"
        await shop.reconciler.step()
        assert shop.loader.loads == ["1"]

    play(tmp_path, "1", story)


def test_a_registry_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.reconciler._REGISTRY_PATIENCE_S", 0.01)
    hangs = threading.Event()
    left: list[threading.Thread] = []

    async def story(shop: Shop) -> None:
        await shop.answers_with("1")
        sync = shop.registry.sync

        def slow(notes: Iterable[Note]) -> tuple[dict[str, Standing], list[Note]]:
            left.append(threading.current_thread())
            hangs.wait(60)
            return sync(notes)

        monkeypatch.setattr(shop.registry, "sync", slow)
        await shop.reconciler.step()
        await shop.reconciler.step()
        assert shop.answers == "1"

    play(tmp_path, "1", story)
    (thread,) = left
    assert thread.is_alive()
    assert thread.daemon, "Python does not wait for it"
    hangs.set()
    thread.join(20)
    assert not thread.is_alive()
