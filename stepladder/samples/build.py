"""Build a sample task's rows and pages into its folder, unless they are there already."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.files import digest_file, digest_value, read_json, write_json, write_jsonl, writing
from stepladder.samples.module_qa import generate as module_qa
from stepladder.samples.module_qa.wheels import fetch_wheels
from stepladder.samples.terraform_review import generate as terraform_review
from stepladder.settings import Settings
from stepladder.tasks import Strict

REQUIREMENTS = Path("requirements/samples.txt")
WHEELS = Path(".stepladder/wheels")
_MARKER = ".sample.json"
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


def build_sample(name: str, settings: Settings, tasks_folder: Path = Path("tasks")) -> SampleReport:
    """Build the sample task ``name`` (``module-qa`` or ``terraform-review``) under ``tasks_folder``.

    The same settings, seed and generator give the same bytes; when they are what the folder was built
    from, nothing is done. Each file, and the folder of pages, is replaced whole.

    Raises:
        StepladderError: an unknown name; wheels that cannot be had; sizes that the material cannot fill.
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
    counts = _built_before(folder, digest)
    if counts is None:
        counts = _write(folder, SAMPLES[name](settings))
        write_json(folder / _MARKER, {"digest": digest, **counts})
        return SampleReport(name=name, **counts, seconds=time.monotonic() - started, reused=False)
    return SampleReport(name=name, **counts, seconds=time.monotonic() - started, reused=True)


def is_built(name: str, tasks_folder: Path = Path("tasks")) -> bool:
    """Whether the sample's rows are there, from whatever settings, with whatever edits since."""
    return all((tasks_folder / name / file).is_file() for file in _GENERATED_FILES)


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
    marker = folder / _MARKER
    if not marker.is_file():
        return None
    found = read_json(marker)
    if found.pop("digest", None) != digest:
        return None
    pages = sum(1 for _ in (folder / "knowledge").rglob("*.md"))
    whole = pages == found["pages"] and all((folder / file).is_file() for file in _GENERATED_FILES)
    return found if whole else None


def _write(folder: Path, sample: Sample) -> dict[str, int]:
    # The marker goes first: an interrupted build must not look like a finished one.
    (folder / _MARKER).unlink(missing_ok=True)
    if sample.pages:
        with writing(folder / "knowledge") as draft:
            draft.mkdir()
            for page_id, text in sample.pages.items():
                (draft / f"{page_id}.md").write_text(text, encoding="utf-8")
    write_jsonl(folder / "cases.jsonl", sample.cases)
    write_jsonl(folder / "examples.jsonl", sample.examples)
    return {"pages": len(sample.pages), "cases": len(sample.cases), "examples": len(sample.examples)}
