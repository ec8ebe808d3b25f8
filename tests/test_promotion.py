"""promote, rollback and status against a real registry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.plan import Actual, Held, Remember, plan
from serving.registry import MlflowRegistry, Note
from stepladder.cli import app
from stepladder.errors import StepladderError
from stepladder.files import write_json
from stepladder.going_live import await_live, promote_and_wait
from stepladder.promotion import Standing, note_live, promote, refuse, rollback, standing
from stepladder.releases import register, use_mlflow
from stepladder.serving_record import Answering, ServingRecord, TaskRecord, write_record
from stepladder.settings import Mlflow
from stepladder.trial import try_out
from tests.end_to_end.project import ROOT
from tests.test_release_aliases import release

pytestmark = pytest.mark.slow
TASK = "demo"
run = CliRunner()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mlflow]:
    """A store with three registered releases of one task, named by a project's params.yaml."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    params = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(params.replace("[module-qa, terraform-review]", f"[{TASK}]"))
    before = mlflow.get_tracking_uri()
    settings = Mlflow(tracking_uri=uri)
    use_mlflow(settings)
    for base in "abc":
        write_json(tmp_path / base / "release.json", release(base).model_dump(mode="json"))
        with mlflow.start_run() as started:
            register(tmp_path / base, release(base), "It won.", started.info.run_id)
    yield settings
    mlflow.set_tracking_uri(before)


def aliases(found: Standing) -> tuple[str | None, str | None, str | None]:
    return found.champion, found.previous, found.challenger


def test_a_promotion_remembers_what_a_rollback_goes_to(store: Mlflow) -> None:
    assert aliases(standing(TASK)) == (None, None, "3")
    promote(TASK, "1")
    assert aliases(standing(TASK)) == ("1", None, "3")
    assert promote(TASK).after == "3"
    assert aliases(standing(TASK)) == ("3", "1", "3")
    promote(TASK, "3")
    assert standing(TASK).previous == "1", "the same again changes nothing"
    rollback(TASK)
    assert aliases(standing(TASK)) == ("1", "3", "3")
    rollback(TASK)
    assert aliases(standing(TASK)) == ("3", "1", "3")


def test_a_promotion_that_is_killed_halfway_loses_no_way_back(
    store: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(TASK, "1")
    promote(TASK, "2")
    with monkeypatch.context() as patch:
        patch.setattr("stepladder.promotion.remember", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(TASK, "3")
    assert aliases(standing(TASK)) == ("3", "1", "3"), "1 is still there to go back to"
    answers = Held(2, "2")  # a gateway's next look gives 2 its name
    assert Remember("2") in plan(standing(TASK), Actual(2, (answers,)))


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_refused_release_is_nothing_to_go_back_to_until_it_is_promoted_again(store: Mlflow) -> None:
    promote(TASK, "1")
    promote(TASK, "2")
    refuse(TASK, "2", "3 of 5 smoke cases")
    assert standing(TASK).versions["2"].refused == "3 of 5 smoke cases"
    promote(TASK, "3")
    assert standing(TASK).previous == "1"
    promote(TASK, "2")
    assert standing(TASK).versions["2"].refused is None


def test_a_version_without_the_digest_of_its_files_is_no_release(store: Mlflow) -> None:
    import mlflow

    assert standing(TASK).versions["1"].refused is None
    mlflow.MlflowClient().delete_model_version_tag(f"stepladder-{TASK}", "1", "files.digest")
    assert "no tag files.digest" in str(standing(TASK).versions["1"].refused)


def test_what_is_not_there_is_said(store: Mlflow) -> None:
    with pytest.raises(StepladderError, match="no champion before this one"):
        rollback(TASK)
    with pytest.raises(StepladderError, match="no release '9'") as caught:
        promote(TASK, "9")
    assert "1, 2, 3" in caught.value.remedy


def test_the_gateways_registry_writes_its_notes_before_it_reads(store: Mlflow) -> None:
    registry = MlflowRegistry(store, [TASK], challengers=True)
    found, unwritten = registry.sync(
        [Note(TASK, "1", "previous"), Note(TASK, "1", "passed"), Note(TASK, "2", "refused", "bad")]
    )
    one = found[TASK]
    assert aliases(one) == ("3", "1", "3"), "the challenger stands in for the champion"
    assert one.versions["1"].passed
    assert one.versions["2"].refused == "bad"
    assert unwritten == []
    assert registry.sync([Note(TASK, "9", "passed")])[1] == [], "a version that is gone is told nothing"


def test_the_commands_move_the_alias_and_tell_what_answers(store: Mlflow, tmp_path: Path) -> None:
    assert "version 1 is the champion" in run.invoke(app, ["promote", TASK, "1"]).stdout
    assert "(before: version 1)" in run.invoke(app, ["promote", TASK]).stdout
    told = run.invoke(app, ["status"]).stdout
    assert "no gateway runs here" in told
    assert "demo: wanted version 3, answers none" in told

    wanted = standing(TASK)
    answering = Answering(version="3", digest="d", rung="prompt", engine="http://e/v1", alive=True, users=2)
    tasks = {TASK: TaskRecord(wanted=wanted, answering=answering, loaded=["3"])}
    write_record(tmp_path / ".stepladder/serving.json", ServingRecord(at=time.time(), tasks=tasks))
    assert "answers version 3: as wanted" in run.invoke(app, ["status"]).stdout

    assert "version 1 is the champion (before: version 3)" in run.invoke(app, ["rollback", TASK]).stdout
    state = json.loads(run.invoke(app, ["status", "--json"]).stdout)
    assert state["running"]
    assert state["tasks"][TASK]["wanted"] == "1"
    assert state["tasks"][TASK]["answers"] == "3"
    assert state["tasks"][TASK]["why"] == "the gateway has not seen the change yet"


def test_the_status_of_a_challenger_that_stands_in_for_a_champion(store: Mlflow, tmp_path: Path) -> None:
    wanted = MlflowRegistry(store, [TASK], challengers=True).sync([])[0][TASK]
    answering = Answering(version="3", digest="d", rung="prompt", engine="http://e/v1", alive=True, users=0)
    tasks = {TASK: TaskRecord(wanted=wanted, answering=answering, loaded=["3"])}
    write_record(tmp_path / ".stepladder/serving.json", ServingRecord(at=time.time(), tasks=tasks))
    assert "demo: wanted version 3, answers version 3: as wanted" in run.invoke(app, ["status"]).stdout
    promote(TASK, "1")
    assert "has not seen the change yet" in run.invoke(app, ["status"]).stdout


def test_a_challenger_is_tried_on_a_share_until_its_outcome_is_known(store: Mlflow, tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="needs a champion"):
        try_out(TASK, "2", 0.2)
    promote(TASK, "1")
    told = run.invoke(app, ["canary", TASK, "2", "--share", "0.2"]).stdout
    assert "version 2 is tried on 20.0% of users" in told
    assert aliases(standing(TASK)) == ("1", None, "2")
    assert (standing(TASK).versions["2"].share, standing(TASK).versions["2"].shadow) == (0.2, False)
    assert "version 2 is to be tried on 20.0%\n" in run.invoke(app, ["status"]).stdout
    for trial, says in (
        ("as wanted", "is tried on 20.0%"),
        ("no memory", "is to be tried on 20.0%: no memory"),
    ):
        tasks = {TASK: TaskRecord(wanted=standing(TASK), trial=trial)}
        write_record(tmp_path / ".stepladder/serving.json", ServingRecord(at=time.time(), tasks=tasks))
        assert f"version 2 {says}\n" in run.invoke(app, ["status"]).stdout
    run.invoke(app, ["canary", TASK, "--shadow", "--share", "1"])
    assert (standing(TASK).versions["2"].share, standing(TASK).versions["2"].shadow) == (1, True)
    with pytest.raises(StepladderError, match="leaves none to compare"):
        try_out(TASK, "2", 1.0)

    registry = MlflowRegistry(store, [TASK])
    notes = [Note(TASK, "2", "promoted", "well done", champion="1", trial="a")]
    found = registry.sync(notes)[0][TASK]
    assert aliases(found) == ("2", "1", "2")
    assert (found.versions["2"].share, found.versions["2"].ended) == (0, {"a"})
    assert outcome("2") == "promoted: well done"
    assert registry.sync(notes)[0][TASK].previous == "1", "written twice it is as written once"
    assert outcome("2") == "promoted: well done"
    promote(TASK, "3")
    assert registry.sync(notes)[0][TASK].champion == "3", "a person decided meanwhile"
    assert str(outcome("2")).startswith("not promoted, for the champion is version 3 by now")


def test_a_trial_ends_with_a_promotion_by_hand_and_a_rollback_does_not_begin_it_again(store: Mlflow) -> None:
    promote(TASK, "1")
    run.invoke(app, ["canary", TASK, "2", "--share", "0.2"])
    run.invoke(app, ["promote", TASK, "2"])
    assert standing(TASK).versions["2"].share == 0
    run.invoke(app, ["canary", TASK, "3", "--shadow", "--share", "1"])
    run.invoke(app, ["promote", TASK, "3"])
    run.invoke(app, ["rollback", TASK])
    found = standing(TASK)
    assert aliases(found) == ("2", "3", "3")
    assert [(one.share, one.shadow) for one in found.versions.values()] == [(0, False)] * 3


def test_a_rollback_ends_the_trial_of_what_was_made_champion_in_mlflows_pages(store: Mlflow) -> None:
    import mlflow

    promote(TASK, "1")
    try_out(TASK, "2", 0.2)
    client, name = mlflow.MlflowClient(), f"stepladder-{TASK}"
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "previous", "1")  # as a gateway does
    rollback(TASK)  # before a gateway ended it
    assert aliases(standing(TASK)) == ("1", "2", "2")
    assert standing(TASK).versions["2"].share == 0


def outcome(number: str) -> str | None:
    import mlflow

    tags = mlflow.MlflowClient().get_model_version(f"stepladder-{TASK}", number).tags
    return tags.get("canary.outcome")


def test_what_was_written_before_the_registry_fell_silent_is_not_written_again(
    store: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(TASK, "1")
    registry, notes = MlflowRegistry(store, [TASK]), [Note(TASK, "2", "promoted", champion="1")]
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_wanted", silent)
        with pytest.raises(ConnectionError):
            registry.sync(notes)
    rollback(TASK)
    assert registry.sync(notes)[0][TASK].champion == "1"
    assert registry.sync(notes)[0][TASK].champion == "2", "another trial, later"


def silent(_: Standing) -> Standing:
    raise ConnectionError("refused")


def test_a_share_that_a_person_mistyped_is_none(store: Mlflow) -> None:
    import mlflow

    promote(TASK, "1")
    for typed in ("ten", "10", "1", "-1", "nan"):
        mlflow.MlflowClient().set_model_version_tag(f"stepladder-{TASK}", "2", "canary.share", typed)
        assert standing(TASK).versions["2"].share == 0


def test_who_waits_hears_when_it_answers_when_it_is_refused_and_when_time_is_over(store: Mlflow) -> None:
    with pytest.raises(StepladderError, match="does not answer after 0 s"):
        promote_and_wait(TASK, "1", 0)
    note_live(TASK, "1")
    with pytest.raises(StepladderError, match="does not answer"):
        promote_and_wait(TASK, "1", 0.1)  # it did once: no gateway says that it does now

    note_live(TASK, "1")
    before = standing(TASK)
    move = promote(TASK, "1")
    assert standing(TASK).versions["1"].live is None, "whoever answers by it says so again"
    note_live(TASK, "1")
    await_live(move, before, 10)
    promote(TASK, "2")

    before, move = standing(TASK), rollback(TASK)
    with pytest.raises(StepladderError, match="does not answer"):
        await_live(move, before, 0.1)  # it did answer once: that is not now
    refuse(TASK, "1", "3 of 5 smoke cases")
    with pytest.raises(StepladderError, match="refused: 3 of 5 smoke cases"):
        await_live(move, before, 10)


def test_status_without_a_registry_tells_what_was_last_known(
    store: Mlflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(TASK, "1")
    tasks = {TASK: TaskRecord(wanted=standing(TASK))}
    write_record(tmp_path / ".stepladder/serving.json", ServingRecord(at=time.time(), tasks=tasks))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/params.yaml/mlflow.db")
    told = run.invoke(app, ["status"]).stdout
    assert "the registry is away" in told
    assert "wanted version 1" in told
