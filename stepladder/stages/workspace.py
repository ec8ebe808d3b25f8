"""Where a climb reads and writes: the only place that knows the layout of ``build/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.evaluation.records import RungOutcomes
from stepladder.files import read_json, write_json
from stepladder.settings import Settings, load_settings
from stepladder.tasks import Task, explain, load_task

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Workspace:
    """A project folder with its settings. Stage outputs lie in ``build/``, scratch in ``.stepladder/``."""

    root: Path
    settings: Settings

    def task(self, name: str) -> Task:
        """Load a task, which must be named in ``params.yaml``."""
        if name not in self.settings.tasks:
            raise StepladderError(
                f"no task named {name!r}",
                where="tasks in params.yaml",
                remedy=f"use one of {', '.join(self.settings.tasks)}, or add it there",
            )
        return load_task(self.root / "tasks" / name)

    def require_known_tasks(self) -> None:
        """Check that all that ``params.yaml`` sets by task is of a task there, or of one whose folder stays.

        Raises:
            StepladderError: it is of neither: mistyped, most likely, and without effect.
        """
        sizes = self.settings.sizes
        for where, by_task in (
            ("sizes.cpu.train_tokens_of", sizes.cpu.train_tokens_of),
            ("sizes.gpu.train_tokens_of", sizes.gpu.train_tokens_of),
            ("tuning.by_task", self.settings.tuning.by_task),
        ):
            for name in by_task:
                if name not in self.settings.tasks and not (self.root / "tasks" / name).is_dir():
                    raise StepladderError(
                        f"{name!r} is neither a task nor a folder under tasks/",
                        where=f"{where} in params.yaml",
                        remedy=f"name one of {', '.join(self.settings.tasks)}, or take it out",
                    )

    def checked(self, task: str) -> Path:
        """Folder of the validation report, the Data Docs and the digests of the pages."""
        return self.root / "build/checked" / task

    def unchecked(self, task: str) -> Path:
        """Folder of the validation report of rows that were refused."""
        return self.root / "build/checked" / f"{task}.refused"

    def prepared(self, task: str) -> Path:
        """Folder of cases, dev, few-shot and training rows."""
        return self.root / "build/prepared" / task

    def index(self, task: str) -> Path:
        """Folder of the index version."""
        return self.root / "build/index" / task

    def index_version(self, task: str) -> Path:
        """The index version's digest; null when the task has no knowledge."""
        return self.index(task) / "version.json"

    def retrieval_metrics(self, task: str) -> Path:
        """Retrieval metrics on the cases."""
        return self.root / "build/retrieval" / f"{task}.json"

    def base(self, task: str) -> Path:
        """Folder of the base model's outcomes, plans and probes."""
        return self.root / "build/base" / task

    def diagnosis(self, task: str) -> Path:
        """The diagnosis."""
        return self.root / "build" / task / "diagnosis.json"

    def decision(self, task: str) -> Path:
        """Whether to train, and by what: all of diagnosis, sizes and tuning that training depends on."""
        return self.root / "build" / task / "decision.json"

    def tuned(self, task: str) -> Path:
        """Folder of the adapter with its training record, or of the reason why there is none."""
        return self.root / "build" / task / "tuned"

    def tuned_outcomes(self, task: str) -> Path:
        """Folder of the adapter rungs' outcomes."""
        return self.root / "build" / task / "adapter_rungs"

    def verdict(self, task: str) -> Path:
        """The verdict."""
        return self.root / "build" / task / "verdict.json"

    def report(self, task: str) -> Path:
        """The HTML report."""
        return self.root / "build" / task / "report.html"

    @property
    def scratch(self) -> Path:
        """What may be deleted at any time: caches, checkpoints, merged models, logs."""
        return self.root / ".stepladder"

    @property
    def merged(self) -> Path:
        """Models with an adapter merged in, by the adapter's digest."""
        return self.scratch / "merged"

    @property
    def model_copies(self) -> Path:
        """Copies of base models and embedders that this machine did not have, by digest."""
        return self.scratch / "models"

    @property
    def releases(self) -> Path:
        """Copies of releases, by digest."""
        return self.scratch / "releases"

    def evaluated(self, task: str, release: str, cases: str) -> Path:
        """What a release, by its digest, said to cases, by theirs: of ``stepladder evaluate``."""
        return self.scratch / "evaluated" / task / f"{release[:16]}-{cases[:16]}.json"

    @property
    def looks(self) -> Path:
        """Looks at cases that no climb has logged in MLflow yet."""
        return self.scratch / "looks"

    @property
    def served(self) -> Path:
        """The model that each attached server served last."""
        return self.scratch / "served.json"

    @property
    def rates(self) -> Path:
        """Rates measured on this machine."""
        return self.scratch / "rates.json"

    def responses(self) -> Cache:
        """The response cache."""
        return Cache(self.scratch / "responses.sqlite")

    def embeddings(self) -> Cache:
        """The embedding cache."""
        return Cache(self.scratch / "embeddings.sqlite")


def open_workspace(root: Path = Path()) -> Workspace:
    """The workspace at a folder that holds ``params.yaml``."""
    return Workspace(root, load_settings(root / "params.yaml"))


def save(path: Path, value: BaseModel) -> None:
    """Write a model as JSON, whole or not at all."""
    write_json(path, value.model_dump(mode="json"))


def load(kind: type[Model], path: Path) -> Model:
    """Read what :func:`save` wrote.

    Raises:
        StepladderError: the file is missing or of another form.
    """
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        raise StepladderError(
            f"not a {kind.__name__}: {explain(error)}",
            where=str(path),
            remedy="delete it and run `dvc repro`, which writes it again",
        ) from error


def outcomes_in(folder: Path) -> dict[str, RungOutcomes]:
    """Outcomes by rung or probe name, in the order of the file names."""
    found = [load(RungOutcomes, path) for path in sorted(folder.glob("*.outcomes.json"))]
    return {outcomes.rung: outcomes for outcomes in found}


def outcomes_file(folder: Path, rung: str) -> Path:
    """Where one rung's outcomes lie in a folder."""
    return folder / f"{rung}.outcomes.json"


def save_outcomes(folder: Path, outcomes: RungOutcomes) -> None:
    """Write one rung's outcomes."""
    save(outcomes_file(folder, outcomes.rung), outcomes)
