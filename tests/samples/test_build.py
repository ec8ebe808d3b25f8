"""Building a sample: once, whole, and again only when its inputs change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepladder.data.frames import task_frames
from stepladder.data.headings import section_ids
from stepladder.errors import StepladderError
from stepladder.files import digest_folder, write_jsonl
from stepladder.samples import build
from stepladder.samples.build import WHEELS, build_sample, is_built, with_all_modules
from stepladder.settings import Settings, load_settings
from stepladder.tasks import load_task

ROOT = Path(__file__).parents[2]


def settings_for(**changes: object) -> Settings:
    raw = load_settings(ROOT / "params.yaml").model_dump(by_alias=True)
    raw["sample"]["terraform-review"] = {"cases": 10, "examples": 20}
    return Settings.model_validate({**raw, **changes})


def test_a_sample_is_built_once(tmp_path: Path) -> None:
    first = build_sample("terraform-review", settings_for(), tmp_path)
    again = build_sample("terraform-review", settings_for(), tmp_path)
    assert (first.cases, first.examples, first.pages, first.reused) == (10, 20, 0, False)
    assert again.reused
    assert (again.cases, again.examples) == (10, 20)


def test_another_seed_or_a_lost_file_builds_it_again(tmp_path: Path) -> None:
    build_sample("terraform-review", settings_for(), tmp_path)
    before = (tmp_path / "terraform-review/cases.jsonl").read_bytes()
    assert not build_sample("terraform-review", settings_for(seed=5), tmp_path).reused
    assert (tmp_path / "terraform-review/cases.jsonl").read_bytes() != before
    (tmp_path / "terraform-review/examples.jsonl").unlink()
    assert not build_sample("terraform-review", settings_for(seed=5), tmp_path).reused


def edit(path: Path) -> bytes:
    path.write_text(path.read_text() + "\n")
    return path.read_bytes()


def test_edited_files_are_not_overwritten_unless_forced(tmp_path: Path) -> None:
    build_sample("terraform-review", settings_for(), tmp_path)
    edited = tmp_path / "terraform-review/cases.jsonl"
    ours = edit(edited)
    with pytest.raises(StepladderError, match=r"cases\.jsonl would be overwritten") as caught:
        build_sample("terraform-review", settings_for(seed=5), tmp_path)
    assert "examples.jsonl" not in caught.value.what
    assert "--force" in caught.value.remedy
    assert edited.read_bytes() == ours
    assert not build_sample("terraform-review", settings_for(seed=5), tmp_path, force=True).reused
    assert edited.read_bytes() != ours
    assert not build_sample("terraform-review", settings_for(), tmp_path).reused


def test_rows_that_no_build_made_are_not_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "terraform-review/examples.jsonl"
    mine.parent.mkdir()
    mine.write_text("{}\n")
    with pytest.raises(StepladderError, match="nothing tells where they come from"):
        build_sample("terraform-review", settings_for(), tmp_path)
    assert mine.read_text() == "{}\n"


@pytest.mark.parametrize("written", ["cases.jsonl", "examples.jsonl"])
def test_a_build_that_was_cut_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    build_sample("terraform-review", settings_for(), tmp_path)

    def cut(path: Path, rows: list[object]) -> None:
        write_jsonl(path, rows)
        if path.name == written:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_jsonl", cut)
        with pytest.raises(KeyboardInterrupt):
            build_sample("terraform-review", settings_for(seed=5), tmp_path)
    assert not is_built("terraform-review", tmp_path), "`setup` must not take it for built"
    assert not build_sample("terraform-review", settings_for(seed=5), tmp_path).reused
    assert build_sample("terraform-review", settings_for(seed=5), tmp_path).reused
    assert is_built("terraform-review", tmp_path)


def faults(folder: Path) -> list[str]:
    """What would stop `validate` in a sample that was built into a folder of its own."""
    for name in ("task.yaml", "prompt.md"):
        (folder / name).write_bytes((ROOT / "tasks" / folder.name / name).read_bytes())
    frames = task_frames(load_task(folder))
    columns = ("form", "roles", "answer", "evidence", "twin")
    rows = [row for kind in frames.values() for row in kind]
    return [row[column] for row in rows for column in columns if row.get(column)]


def test_the_rows_built_are_sound(tmp_path: Path) -> None:
    build_sample("terraform-review", settings_for(), tmp_path)
    assert faults(tmp_path / "terraform-review") == []


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_sample("terraform-review", settings_for(), tmp_path / name)
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="module-qa, terraform-review"):
        build_sample("terrafrom-review", settings_for(), tmp_path)


def test_all_modules_make_a_sample_of_their_own() -> None:
    few = settings_for()
    every = with_all_modules(few)
    assert (few.sample.module_qa.all, every.sample.module_qa.all) == (False, True)
    assert every.model_copy(update={"sample": few.sample}) == few
    assert every.sample.terraform_review == few.sample.terraform_review


def test_a_sample_of_some_modules_is_not_taken_for_one_of_all(tmp_path: Path) -> None:
    few = settings_for()
    (tmp_path / "module-qa").mkdir()
    digest = build._inputs_digest("module-qa", few)
    (tmp_path / "module-qa/.sample.json").write_text(json.dumps({"digest": digest}))
    assert build.is_current("module-qa", few, tmp_path)
    assert not build.is_current("module-qa", with_all_modules(few), tmp_path)


@pytest.mark.slow
def test_module_qa_from_the_real_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if not WHEELS.is_dir():
        pytest.skip("the wheels come with `stepladder sample module-qa`")
    report = build_sample("module-qa", load_settings(), tmp_path)
    assert report.cases >= 400
    assert report.examples >= 1000
    assert report.pages > 300
    assert faults(tmp_path / "module-qa") == []
    task = load_task(tmp_path / "module-qa")
    sections = set().union(*(section_ids(page, text) for page, text in task.pages.items()))
    assert {evidence for case in task.cases for evidence in case.evidence} <= sections
    assert not {case.cluster for case in task.cases} & {example.cluster for example in task.examples}
    assert len({case.slice for case in task.cases}) == 5
