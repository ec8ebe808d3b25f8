"""Great Expectations over tables: each suite run once, what each expectation found, and the Data Docs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Checked(NamedTuple):
    """One record a row, the columns that are looked at, and what is expected of them."""

    columns: Sequence[str]
    records: Sequence[dict[str, Any]]
    suite: Iterable[Any]


def results_of(source_name: str, tables: Mapping[Any, Checked], docs: Path) -> Iterator[tuple[Any, Any]]:
    """Per table and expectation, in their order: the table's kind and Great Expectations' result.

    Rows are told by position: by the columns of an id, rows that repeat it could not be told apart.

    Args:
        source_name: of the tables, in the Data Docs.
        tables: by kind.
        docs: the folder of the site; replaced when all results were taken.
    """
    # Read when Great Expectations is imported: nothing is sent anywhere.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas(source_name)
    for kind, table in tables.items():
        for item in _results(context, source, kind, table):
            yield kind, item
    _write_docs(context, docs)


def _results(context: Any, source: Any, kind: Any, table: Checked) -> Iterator[Any]:
    import great_expectations as gx
    import pandas as pd  # type: ignore[import-untyped]

    frame = pd.DataFrame(table.records, columns=list(table.columns), dtype=object)
    frame = frame.where(frame.notna(), None)
    batch = source.add_dataframe_asset(kind).add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(kind, expectations=list(table.suite)))
    definition = gx.ValidationDefinition(name=kind, data=batch, suite=suite)
    checkpoint = gx.Checkpoint(
        name=kind,
        validation_definitions=[context.validation_definitions.add(definition)],
        result_format={"result_format": "COMPLETE"},
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    for result in outcome.run_results.values():
        yield from result.results


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
