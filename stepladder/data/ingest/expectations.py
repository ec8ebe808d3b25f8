"""Great Expectations over a batch's tables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stepladder.data.ingest.records import Kind
from stepladder.data.ingest.suites import Expectation
from stepladder.errors import StepladderError

Record = dict[str, Any]

_LONGEST_REASON = 500


class Table(NamedTuple):
    """One record a row, and what is expected of them."""

    records: Sequence[Record]
    suite: Sequence[Expectation]


class Finding(NamedTuple):
    """A failed check. ``position`` counts the records; None where the batch as a whole failed it."""

    kind: Kind
    position: int | None
    check: str
    reason: str


def run_suites(tables: Mapping[Kind, Table], docs: Path) -> list[Finding]:
    """Check the tables, and write Great Expectations' site for reading in a browser.

    Args:
        tables: by kind; a record has all the columns that its suite names.
        docs: the folder of the site; replaced.

    Raises:
        StepladderError: an expectation could not be checked.
    """
    # Read when Great Expectations is imported: nothing is sent anywhere.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("batch")
    findings: list[Finding] = []
    for kind, table in tables.items():
        if table.records:
            findings += _run_suite(context, source, kind, table)
    _write_docs(context, docs)
    return findings


def _run_suite(context: Any, source: Any, kind: Kind, table: Table) -> Iterator[Finding]:
    import great_expectations as gx
    import pandas as pd  # type: ignore[import-untyped]

    columns = sorted({item["kwargs"]["column"] for item in table.suite})
    frame = pd.DataFrame(table.records, columns=columns, dtype=object)
    frame = frame.where(frame.notna(), None)
    batch = source.add_dataframe_asset(kind).add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(kind, expectations=list(table.suite)))
    definition = gx.ValidationDefinition(name=kind, data=batch, suite=suite)
    checkpoint = gx.Checkpoint(
        name=kind,
        validation_definitions=[context.validation_definitions.add(definition)],
        # Rows by position: by the columns of an id, rows that repeat it could not be told apart.
        result_format={"result_format": "COMPLETE"},
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    for result in outcome.run_results.values():
        for item in result.results:
            yield from _findings(kind, item, table.records)


def _findings(kind: Kind, item: Any, records: Sequence[Record]) -> Iterator[Finding]:
    if item.success:
        return
    config = item.expectation_config
    check, notes = config.meta["check"], config.meta["notes"]
    if item.exception_info.get("raised_exception"):
        raise StepladderError(
            f"the expectation {config.type} could not be checked: {item.exception_info['exception_message']}",
            where=f"stepladder/data/ingest/suites.py, suite {kind}, check {check}",
            remedy="mend the suite",
        )
    positions = item.result.get("unexpected_index_list")
    if positions is None:
        measured = item.result.get("observed_value")
        yield Finding(kind, None, check, f"{notes}: {measured}")
        return
    for position in positions:
        told = records[int(position)].get(check) if config.kwargs["column"] == check else None
        reason = str(told or notes) if config.type.endswith("to_be_null") else notes
        yield Finding(kind, int(position), check, reason[:_LONGEST_REASON])


def _write_docs(context: Any, docs: Path) -> None:
    """Build the Data Docs where the context keeps them, a temporary folder, and move them."""
    (site,) = context.list_data_docs_sites().items()
    name, config = site
    built = Path(config["store_backend"]["base_directory"])
    context.update_data_docs_site(name, {**config, "show_how_to_buttons": False})
    context.build_data_docs()
    if docs.exists():
        shutil.rmtree(docs)
    docs.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(built, docs)
