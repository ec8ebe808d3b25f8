"""Whether an answer obeys the task's output schema, and its scorer can read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepladder.data.references import reference_fault
from stepladder.errors import StepladderError
from stepladder.tasks import Case, Example, Task

Check = Callable[[Any], str | None]


def answer_check(schema: dict[str, Any] | None, where: Path) -> Check:
    """A function from an answer to what is wrong with it, or None.

    An answer is a JSON text, or (as a case's reference may be) the value itself. Without a schema every
    answer is right.

    Args:
        schema: JSON Schema (2020-12 unless it says otherwise) of the task's answers.
        where: the file that holds it, for the error.

    Raises:
        StepladderError: the schema itself is wrong.
    """
    if schema is None:
        return lambda _: None
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise StepladderError(
            f"output_schema is not a JSON schema: {error.message}", where=str(where), remedy="mend it"
        ) from error
    validator = kind(schema)

    def check(answer: Any) -> str | None:
        value = answer
        if isinstance(answer, str):
            try:
                value = json.loads(answer)
            except json.JSONDecodeError as error:
                return f"the answer is not JSON: {error.msg} at column {error.colno}"
        fault = min(validator.iter_errors(value), key=lambda fault: fault.json_path, default=None)
        return None if fault is None else f"the answer at {fault.json_path}: {_short(fault.message)}"

    return check


def row_check(task: Task) -> Callable[[Example | Case], str | None]:
    """A function from a row to why its answer cannot stand in the task's dataset, or None.

    An example's is asked what a case's is: some examples are held out and scored like cases.

    Raises:
        StepladderError: the task's output schema is wrong.
    """
    spec, disobeys = task.spec, answer_check(task.spec.output_schema, task.folder / "task.yaml")

    def fault(row: Example | Case) -> str | None:
        said = row.output if isinstance(row, Example) else row.reference
        abstains = not row.answerable and (isinstance(row, Example) or said == spec.abstention)
        told = None if abstains else disobeys(said)
        return told or reference_fault(spec, said, answerable=row.answerable)

    return fault


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
