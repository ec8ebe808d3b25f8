"""Build a sample task's rows and pages into its folder, unless they are there already."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.files import (
    digest_file,
    digest_folder,
    digest_text,
    digest_value,
    jsonl_text,
    read_json,
    write_json,
    write_jsonl,
    writing,
)
from stepladder.samples.module_qa import generate as module_qa
from stepladder.samples.module_qa.wheels import fetch_wheels
from stepladder.samples.terraform_review import generate as terraform_review
from stepladder.settings import Settings
from stepladder.tasks import Strict

REQUIREMENTS = Path("requirements/samples.txt")
WHEELS = Path(".stepladder/wheels")
_MARKER = ".sample.json"
_PAGES = "knowledge"
_GENERATED_FILES = ("cases.jsonl", "examples.jsonl")


class SampleReport(Strict):
    """What was built, or found there. ``seconds`` is this call's wall time."""

    name: str
    pages: int
    cases: int
    examples: int
    seconds: float
    reused: bool


@dataclass(frozen=True)
class Sample:
    """Rows, and pages by id (none for a task without knowledge)."""

    cases: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    pages: dict[str, str]


def build_sample(
    name: str, settings: Settings, tasks_folder: Path = Path("tasks"), *, force: bool = False
) -> SampleReport:
    """Build the sample task ``name`` (``module-qa`` or ``terraform-review``) under ``tasks_folder``.

    The same settings, seed and generator give the same bytes; when they are what the folder was built
    from, nothing is done. Each file, and the folder of pages, is replaced whole.

    Args:
        name: of the sample.
        settings: its sizes and the seed.
        tasks_folder: where the task's folder lies.
        force: build anew whatever is there, and overwrite files that were edited since they were built.

    Raises:
        StepladderError: an unknown name; wheels that cannot be had; sizes that the material cannot fill;
            files that were edited.
    """
    if name not in SAMPLES:
        raise StepladderError(
            f"no sample is called {name!r}",
            where="stepladder sample",
            remedy=f"choose one of {', '.join(sorted(SAMPLES))}",
        )
    started = time.monotonic()
    folder = tasks_folder / name
    digest = _inputs_digest(name, settings)
    counts = None if force else _built_before(folder, digest)
    if counts is None:
        sample = SAMPLES[name](settings)
        if not force:
            _require_unedited(folder, sample)
        counts = _write(folder, sample, digest)
        return SampleReport(name=name, **counts, seconds=time.monotonic() - started, reused=False)
    return SampleReport(name=name, **counts, seconds=time.monotonic() - started, reused=True)


def is_built(name: str, tasks_folder: Path = Path("tasks")) -> bool:
    """Whether the sample's rows are there, from whatever settings, with whatever edits since.

    Those that a build wrote which was cut short are not: cases and examples may be of two seeds.
    """
    marker = _marker(tasks_folder / name)
    if "made" in marker and "digest" not in marker:
        return False
    return all((tasks_folder / name / file).is_file() for file in _GENERATED_FILES)


def is_current(name: str, settings: Settings, tasks_folder: Path = Path("tasks")) -> bool:
    """Whether the rows that are there were built from these settings, by this generator."""
    return _marker(tasks_folder / name).get("digest") == _inputs_digest(name, settings)


def with_all_modules(settings: Settings) -> Settings:
    """Settings under which module-qa takes every collection of the ansible package."""
    module_qa = settings.sample.module_qa.model_copy(update={"all": True})
    return settings.model_copy(update={"sample": settings.sample.model_copy(update={"module_qa": module_qa})})


def _terraform_review(settings: Settings) -> Sample:
    cases, examples = terraform_review.generate(settings.sample.terraform_review, settings.seed)
    return Sample(cases, examples, {})


def _module_qa(settings: Settings) -> Sample:
    wheels = fetch_wheels(REQUIREMENTS, WHEELS)
    sizes = settings.sample.module_qa
    modules = module_qa.choose_modules(wheels, sizes, settings.seed)
    cases, examples = module_qa.generate(modules, sizes, settings.seed)
    return Sample(cases, examples, module_qa.pages(modules))


SAMPLES: dict[str, Callable[[Settings], Sample]] = {
    "module-qa": _module_qa,
    "terraform-review": _terraform_review,
}


def _inputs_digest(name: str, settings: Settings) -> str:
    """What the sample is made of: its sizes, the seed, the generator's source and the pinned packages."""
    source = Path(__file__).parent
    code = sorted(path for path in source.rglob("*") if path.suffix in {".py", ".yaml"})
    return digest_value(
        {
            "sizes": settings.sample.model_dump(by_alias=True)[name],
            "seed": settings.seed,
            "source": {path.relative_to(source).as_posix(): digest_file(path) for path in code},
            "packages": digest_file(REQUIREMENTS) if REQUIREMENTS.is_file() else None,
        }
    )


def _built_before(folder: Path, digest: str) -> dict[str, int] | None:
    """The counts of an earlier build from the same inputs whose files are all still there."""
    marker = _marker(folder)
    if marker.get("digest") != digest:
        return None
    pages = sum(1 for _ in (folder / _PAGES).rglob("*.md"))
    whole = pages == marker["pages"] and all((folder / file).is_file() for file in _GENERATED_FILES)
    return {kind: marker[kind] for kind in ("pages", "cases", "examples")} if whole else None


def _marker(folder: Path) -> dict[str, Any]:
    """``.sample.json``: what the files were built from, how many rows, and by part the digests ``made``."""
    path = folder / _MARKER
    return dict(read_json(path)) if path.is_file() else {}


def _require_unedited(folder: Path, sample: Sample) -> None:
    """Stop where a part would be overwritten that is neither what was built before nor what is built now."""
    made = _marker(folder).get("made", {})
    edited = [
        part
        for part, digest in _digests(sample).items()
        if (folder / part).exists() and _digest_there(folder / part) not in [digest, *made.get(part, [])]
    ]
    if edited:
        raise StepladderError(
            f"{' and '.join(edited)} would be overwritten, but changed since they were built"
            if made
            else f"{' and '.join(edited)} would be overwritten, and nothing tells where they come from",
            where=str(folder),
            remedy=f"copy them elsewhere, or run `stepladder sample {folder.name} --force` to overwrite them",
        )


def _digests(sample: Sample) -> dict[str, str]:
    """By part, the digest that `_digest_there` will find."""
    rows = {"cases.jsonl": sample.cases, "examples.jsonl": sample.examples}
    digests = {part: digest_text(jsonl_text(given)) for part, given in rows.items()}
    if sample.pages:
        digests[_PAGES] = digest_value(
            {f"{page}.md": digest_text(text) for page, text in sample.pages.items()}
        )
    return digests


def _digest_there(path: Path) -> str:
    return digest_folder(path) if path.is_dir() else digest_file(path)


def _write(folder: Path, sample: Sample, digest: str) -> dict[str, int]:
    counts = {"pages": len(sample.pages), "cases": len(sample.cases), "examples": len(sample.examples)}
    before, now = _marker(folder).get("made", {}), _digests(sample)
    # First and without the inputs' digest: an interrupted build must neither look like a finished one, nor
    # what it wrote like someone's edits.
    write_json(folder / _MARKER, {"made": {part: [*before.get(part, []), one] for part, one in now.items()}})
    if sample.pages:
        with writing(folder / _PAGES) as draft:
            draft.mkdir()
            for page_id, text in sample.pages.items():
                (draft / f"{page_id}.md").write_text(text, encoding="utf-8")
    write_jsonl(folder / "cases.jsonl", sample.cases)
    write_jsonl(folder / "examples.jsonl", sample.examples)
    made = {part: [one] for part, one in now.items()}
    write_json(folder / _MARKER, {"digest": digest, **counts, "made": made})
    return counts
