"""The terraform-review rows: sizes, shares, and nothing shared between cases and examples."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import hcl2
import jsonschema
import pytest
import yaml

from stepladder.data.duplicates import near_duplicates
from stepladder.samples.terraform_review.catalogue import load_catalogue
from stepladder.samples.terraform_review.generate import generate
from stepladder.settings import TerraformReviewSample
from stepladder.tasks import Case, Example

Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    return generate(TerraformReviewSample(), 0)


def test_rows_fit_the_schema_and_the_promised_sizes(rows: Rows) -> None:
    cases, examples = rows
    assert len([Case.model_validate(row) for row in cases]) >= 300
    assert len([Example.model_validate(row) for row in examples]) >= 1500


def test_answers_fit_the_tasks_output_schema(rows: Rows) -> None:
    task = Path(__file__).parents[2] / "tasks/terraform-review/task.yaml"
    validator = jsonschema.Draft202012Validator(yaml.safe_load(task.read_text())["output_schema"])
    for row in rows[0]:
        validator.validate(row["reference"])
    for row in rows[1]:
        validator.validate(json.loads(row["messages"][1]["content"]))


def test_cases_and_examples_share_no_cluster_and_no_text(rows: Rows) -> None:
    cases, examples = rows
    assert not {row["cluster"] for row in cases} & {row["cluster"] for row in examples}
    texts = [row["input"] for row in cases] + [row["messages"][0]["content"] for row in examples]
    assert len(set(texts)) == len(texts)
    assert near_duplicates(texts, None, 0.9) == []


def test_cases_have_many_clusters(rows: Rows) -> None:
    assert len({row["cluster"] for row in rows[0]}) >= 100


def test_about_two_in_five_are_sound_and_every_category_is_there(rows: Rows) -> None:
    slices = Counter(row["slice"] for row in rows[1])
    assert set(slices) == {"security", "cost", "correctness", "clean", "distractor"}
    assert 0.3 < (slices["clean"] + slices["distractor"]) / len(rows[1]) < 0.5


def test_every_fault_stands_in_at_least_twenty_examples(rows: Rows) -> None:
    found = Counter(
        (row["cluster"].split("/")[0], issue["issue"])
        for row in rows[1]
        for issues in json.loads(row["messages"][1]["content"]).values()
        for issue in issues
    )
    kinds = load_catalogue().kinds
    assert len(found) == sum(len({fault.named for fault in kind.faults}) for kind in kinds.values())
    assert min(found.values()) >= 20


def test_sound_slices_hold_no_issue_and_the_others_do(rows: Rows) -> None:
    for row in rows[0]:
        found = [issue for issues in row["reference"].values() for issue in issues]
        assert (not found) == (row["slice"] in {"clean", "distractor"})
        assert all(1 <= issue["line"] <= len(row["input"].splitlines()) for issue in found)


def test_snippets_parse_as_hcl(rows: Rows) -> None:
    for row in rows[0][:40]:
        hcl2.loads(row["input"] + "\n")


@pytest.mark.slow
def test_all_snippets_parse_as_hcl(rows: Rows) -> None:
    for text in [row["input"] for row in rows[0]] + [row["messages"][0]["content"] for row in rows[1]]:
        hcl2.loads(text + "\n")


def test_the_seed_decides_every_row() -> None:
    small = TerraformReviewSample(cases=20, examples=40)
    assert generate(small, 1) == generate(small, 1)
    assert generate(small, 1) != generate(small, 2)
