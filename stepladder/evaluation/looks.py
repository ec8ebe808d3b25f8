"""How often a set of cases was looked at: a test that is asked again and again is learned by heart.

A look is a verdict on these cases with responses not seen before. Any set that holds half of the present
cases counts as these: to add a case, to rename a slice or a task, or to ask fewer makes no fresh test. Climbs
are logged in MLflow with digests of cases and responses (``digest.case_set``, ``digest.cases`` and
``digest.responses``), so that looks are counted wherever the climbs were run that share the tracking server.
A verdict that no climb logged (a bare ``dvc repro``) is noted in a file beside the caches, counted from
there, and logged by the next climb.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from stepladder.errors import StepladderError
from stepladder.evaluation.records import RungOutcomes
from stepladder.failures import first_line, without_password
from stepladder.files import digest_value, read_json, write_json
from stepladder.tasks import Strict

_MOST_RUNS = 10_000
_SAME = 0.5  # share of the present cases from which an earlier set counts as the same test
_KEPT, _WIDTH = 500, 8  # cases that a run names, and hex digits of each: MLflow's parameters hold 6,000


def case_set_digest(outcomes: Mapping[str, RungOutcomes]) -> str:
    """SHA-256 of the cases that were asked, whatever their order."""
    one = next(iter(outcomes.values()))
    rows = sorted(
        (o.id, o.input, digest_value(o.reference), o.answerable, o.slice, o.cluster) for o in one.outcomes
    )
    return digest_value(rows)


def case_digests(outcomes: Mapping[str, RungOutcomes]) -> list[str]:
    """The cases, each by a short digest of its input and reference, sorted."""
    one = next(iter(outcomes.values()))
    return sorted({digest_value([o.input, o.reference])[:_WIDTH] for o in one.outcomes})


def sketch(cases: Sequence[str]) -> str:
    """The smallest case digests, one after the other: what is logged of a case set."""
    return "".join(cases[:_KEPT])


def share_seen(present: Sequence[str], sketched: str) -> float:
    """Share of the present cases that stood in an earlier set.

    Of a large set the smallest digests are known only: the present ones as small are a sample of all (a
    bottom-k sketch; Broder, 1997, "On the resemblance and containment of documents").
    """
    earlier = [sketched[i : i + _WIDTH] for i in range(0, len(sketched), _WIDTH)]
    whole = len(earlier) < _KEPT
    comparable = [case for case in present if whole or case <= earlier[-1]]
    return len(set(earlier) & set(comparable)) / len(comparable) if comparable else 0.0


def responses_digest(outcomes: Mapping[str, RungOutcomes]) -> str:
    """SHA-256 of what every rung answered and scored; times are left out."""
    rungs = {
        rung: [
            one.variant,
            one.model_digest,
            one.adapter_digest,
            sorted((o.id, o.response.text, o.score, o.valid) for o in one.outcomes),
        ]
        for rung, one in outcomes.items()
    }
    return digest_value(rungs)


class Look(Strict):
    """A verdict's look at a set of cases: the task, and the digests of the cases and of the responses.

    ``cases``: from ``case_digests``; empty in looks of before they were kept.
    """

    task: str
    case_set: str
    responses: str
    cases: list[str] = Field(default=[])


def look_of(task: str, outcomes: Mapping[str, RungOutcomes]) -> Look:
    """What a verdict on these outcomes looks at."""
    return Look(
        task=task,
        case_set=case_set_digest(outcomes),
        responses=responses_digest(outcomes),
        cases=case_digests(outcomes),
    )


def note_look(folder: Path, look: Look) -> None:
    """Remember a look until it is logged; the same one twice is one."""
    write_json(_note(folder, look), look.model_dump())


def noted_looks(folder: Path) -> list[Look]:
    """The looks that no climb has logged yet."""
    return [Look.model_validate(read_json(path)) for path in sorted(folder.glob("*.json"))]


def forget_look(folder: Path, look: Look) -> None:
    """Once it is logged."""
    _note(folder, look).unlink(missing_ok=True)


def _note(folder: Path, look: Look) -> Path:
    return folder / f"{digest_value([look.case_set, look.responses])[:32]}.json"


def count_looks(
    tracking_uri: str, experiment: str, present: Look, root: Path, noted: Sequence[Look] = ()
) -> int:
    """Looks at the present cases, this one included; asked again for the same responses it is the same.

    Args:
        tracking_uri: MLflow's; a SQLite file that is not there yet holds no looks, and is not made.
        experiment: its name there.
        present: this look.
        root: the project's folder, which a relative SQLite path starts from.
        noted: looks that are not logged there yet.

    Raises:
        StepladderError: the tracking server does not answer.
    """
    local = {one.responses for one in noted if _same_test(present, one.case_set, sketch(one.cases))}
    local.add(present.responses)
    if store_is_missing(tracking_uri, root):
        return len(local)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # As it comes it tries for minutes before it says that a server is down.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(absolute(tracking_uri, root))
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return len(local)
        runs = client.search_runs(
            [found.experiment_id], "params.`digest.case_set` != ''", max_results=_MOST_RUNS
        )
    except MlflowException as error:
        why = without_password(first_line(error))
        raise StepladderError(
            f"MLflow does not answer, so looks at the test cannot be counted: {why}",
            where=without_password(tracking_uri),
            remedy="start the tracking server, or set mlflow.tracking_uri (MLFLOW_TRACKING_URI) to one",
            may_pass=True,
        ) from error
    logged = (run.data.params for run in runs)
    seen = {
        one.get("digest.responses", "")
        for one in logged
        if _same_test(present, one["digest.case_set"], one.get("digest.cases", ""))
    }
    return len(seen | local)


def _same_test(present: Look, case_set: str, cases: str) -> bool:
    return case_set == present.case_set or share_seen(present.cases, cases) >= _SAME


def store_is_missing(tracking_uri: str, root: Path) -> bool:
    """Whether the store is a SQLite file that is not there yet; to ask MLflow for it would make it."""
    path = _sqlite_path(tracking_uri, root)
    return path is not None and not path.is_file()


def absolute(tracking_uri: str, root: Path) -> str:
    """A tracking URI that means the same from any folder."""
    path = _sqlite_path(tracking_uri, root)
    return tracking_uri if path is None else f"sqlite:///{path}"


def _sqlite_path(tracking_uri: str, root: Path) -> Path | None:
    start = "sqlite:///"
    return (root / tracking_uri.removeprefix(start)).resolve() if tracking_uri.startswith(start) else None
