"""How often a set of cases was looked at: a test that is asked again and again is learned by heart.

A look is a verdict on these cases with responses not seen before, or on the same ones by another rule: a bar
that is moved once the answers are known was not fixed beforehand. Any set that holds half of the present
cases counts as these: to add a case, to rename a slice or a task, or to ask fewer makes no fresh test. Climbs
are logged in MLflow with what ``Look.parameters`` names, so that looks are counted wherever the climbs were
run that share the tracking server. A verdict that no climb logged (a bare ``dvc repro``) is noted in a file
beside the caches, counted from there, and logged by the next climb.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from stepladder.errors import StepladderError
from stepladder.evaluation.records import RungOutcomes
from stepladder.failures import first_line, without_password
from stepladder.files import digest_value, read_json, write_json
from stepladder.tasks import Strict

_MOST_RUNS = 10_000
_SAME = 0.5  # share of the present cases from which an earlier set counts as the same test
_KEPT, _WIDTH = 500, 8  # cases that a run names, and hex digits of each: MLflow's parameters hold 6,000
_CASE_SET, _RESPONSES, _RULE_DIGEST = "digest.case_set", "digest.responses", "digest.rule"
_CASES, _RULE = "looks.cases", "looks.rule"
VERDICT_TAG = "stepladder.verdict_digest"  # of a climb's run: SHA-256 of its verdict's file
_CASES_BEFORE = "digest.cases"  # where the cases stood in runs of before they had a name of their own


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
    return sorted({o.asked[:_WIDTH] for o in one.outcomes})


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
    """A verdict's look at a set of cases: the task, the digests of the cases and of the responses, the rule.

    ``cases``: from ``case_digests``. ``rule``: what was fixed, by name (``ladder.form.Rule``), and
    ``rule_digest`` of it. All three are empty in looks of before they were kept.
    """

    task: str
    case_set: str
    responses: str
    cases: list[str] = Field(default=[])
    rule: dict[str, Any] = Field(default={})
    rule_digest: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from any other."""
        return self.case_set, self.responses, self.rule_digest

    def parameters(self) -> dict[str, str]:
        """What is logged of it, by MLflow's names."""
        return {
            _CASE_SET: self.case_set,
            _RESPONSES: self.responses,
            _RULE_DIGEST: self.rule_digest,
            _CASES: sketch(self.cases),
            _RULE: json.dumps(self.rule, sort_keys=True),
        }


class Seen(Strict):
    """How often the cases were looked at, the present look included.

    ``rules``: what was different in the rules of earlier looks, one clause a rule.
    """

    looks: int
    rules: list[str] = Field(default=[])


class _Earlier(Strict):
    """A look as it was logged or noted; ``cases`` as a sketch."""

    case_set: str
    responses: str
    cases: str
    rule: dict[str, Any]
    rule_digest: str


def look_of(task: str, outcomes: Mapping[str, RungOutcomes], rule: Mapping[str, Any]) -> Look:
    """What a verdict on these outcomes by this rule looks at."""
    return Look(
        task=task,
        case_set=case_set_digest(outcomes),
        responses=responses_digest(outcomes),
        cases=case_digests(outcomes),
        rule=dict(rule),
        rule_digest=digest_value(rule),
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
    key = [part for part in look.key if part]  # without a rule: as those of before it was kept are named
    return folder / f"{digest_value(key)[:32]}.json"


def count_looks(
    tracking_uri: str,
    experiment: str,
    present: Look,
    root: Path,
    noted: Sequence[Look] = (),
    verdict: str | None = None,
) -> Seen:
    """Looks at the present cases, this one included; the same responses by the same rule are the same look.

    Args:
        tracking_uri: MLflow's; a SQLite file that is not there yet holds no looks, and is not made.
        experiment: its name there.
        present: this look.
        root: the project's folder, which a relative SQLite path starts from.
        noted: looks that are not logged there yet.
        verdict: the digest of a verdict's file: where a climb logged it, what came later is left out.

    Raises:
        StepladderError: the tracking server does not answer.
    """
    local = [_noted(one) for one in noted]
    if store_is_missing(tracking_uri, root):
        return _seen(present, local)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # As it comes it tries for minutes before it says that a server is down.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(absolute(tracking_uri, root))
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return _seen(present, local)
        runs = client.search_runs(
            [found.experiment_id], f"params.`{_CASE_SET}` != ''", max_results=_MOST_RUNS
        )
    except MlflowException as error:
        why = without_password(first_line(error))
        raise StepladderError(
            f"MLflow does not answer, so looks at the test cannot be counted: {why}",
            where=without_password(tracking_uri),
            remedy="start the tracking server, or set mlflow.tracking_uri (MLFLOW_TRACKING_URI) to one",
            may_pass=True,
        ) from error
    own = [run.info.start_time for run in runs if run.data.tags.get(VERDICT_TAG) == verdict]
    if verdict is not None and own:  # what is noted was not logged by that climb, so it came later
        return _seen(present, [_logged(run.data.params) for run in runs if run.info.start_time <= min(own)])
    return _seen(present, [*local, *(_logged(run.data.params) for run in runs)])


def _noted(look: Look) -> _Earlier:
    fields = look.model_dump(include={"case_set", "responses", "rule", "rule_digest"})
    return _Earlier(**fields, cases=sketch(look.cases))


def _logged(parameters: Mapping[str, str]) -> _Earlier:
    return _Earlier(
        case_set=parameters[_CASE_SET],
        responses=parameters.get(_RESPONSES, ""),
        cases=parameters.get(_CASES) or parameters.get(_CASES_BEFORE, ""),
        rule=json.loads(parameters.get(_RULE) or "{}"),
        rule_digest=parameters.get(_RULE_DIGEST, ""),
    )


def _seen(present: Look, earlier: Iterable[_Earlier]) -> Seen:
    same = [one for one in earlier if _same_test(present, one)]
    pairs = {(one.responses, one.rule_digest) for one in same} | {present.key[1:]}
    # Of whose rule nothing was kept, that of another verdict on the same responses may be it.
    ruled = {responses for responses, rule in pairs if rule}
    looks = sum(bool(rule) or responses not in ruled for responses, rule in pairs)
    rules = {one.rule_digest: one for one in sorted(same, key=lambda one: len(one.rule)) if one.rule_digest}
    others = (one for digest, one in rules.items() if digest != present.rule_digest)
    return Seen(looks=looks, rules=sorted({_differing(one, present.rule) for one in others}))


def _differing(earlier: _Earlier, rule: Mapping[str, Any]) -> str:
    """What an earlier rule had otherwise, as a clause."""
    then, now = _flat(earlier.rule), _flat(rule)
    odd = [name for name in then if name in now and then[name] != now[name]]
    told = (f"{name} was {'not set' if then[name] is None else then[name]}" for name in odd)
    return ", ".join(told) or "what it was is not known any more"


def _flat(rule: Mapping[str, Any]) -> dict[str, Any]:
    """With names like ``bars.score``."""
    flat: dict[str, Any] = {}
    for name, value in sorted(rule.items()):
        parts = {f"{name}.{part}": one for part, one in value.items()} if isinstance(value, dict) else {}
        flat |= parts or {name: value}
    return flat


def _same_test(present: Look, earlier: _Earlier) -> bool:
    return earlier.case_set == present.case_set or share_seen(present.cases, earlier.cases) >= _SAME


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
