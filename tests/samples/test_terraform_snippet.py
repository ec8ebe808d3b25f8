"""Snippets whose review is true because of how they were made."""

from __future__ import annotations

import json
import random
from typing import Any

import hcl2
import pytest

from stepladder.samples.terraform_review.catalogue import Edit, load_catalogue
from stepladder.samples.terraform_review.snippet import Snippet, aligned, make_snippet

CATALOGUE = load_catalogue()
FAULTS = [(name, i) for name, kind in CATALOGUE.kinds.items() for i in range(len(kind.faults))]
DISTRACTORS = [(name, i) for name, kind in CATALOGUE.kinds.items() for i in range(len(kind.distractors))]


def snippet(kind: str, *edits: Edit, env: str = "dev", seed: int = 0) -> Snippet:
    known = {"name": "orders", "env": env, "n": "7"}
    return make_snippet(CATALOGUE, kind, edits, known, random.Random(seed))


def fault(kind: str, named: str) -> Edit:
    return next(edit for edit in CATALOGUE.kinds[kind].faults if edit.named == named)


def only_issue(made: Snippet) -> tuple[str, dict[str, Any]]:
    [(category, found)] = [(c, found) for c, found in json.loads(made.review).items() if found]
    [issue] = found
    return category, issue


@pytest.mark.parametrize(
    ("kind", "named", "category", "offending"),
    [
        ("s3-bucket-acl", "public-acl", "security", "acl"),
        ("rds", "unencrypted", "security", "storage_encrypted   = false"),
        ("security-group", "open-port", "security", 'cidr_blocks = ["0.0.0.0/0"]'),
        ("iam-policy", "broad-action", "security", "Action"),
        ("ec2-instance", "oversized", "cost", "instance_type"),
        ("log-group", "no-retention", "cost", 'resource "aws_cloudwatch_log_group"'),
        ("rds", "wrong-type", "correctness", "allocated_storage"),
        ("ebs-volume", "required", "correctness", 'resource "aws_ebs_volume"'),
        ("lambda", "undeclared", "correctness", "aws_iam_role.orders.arn"),
    ],
)
def test_the_issue_stands_on_the_offending_line(kind: str, named: str, category: str, offending: str) -> None:
    for seed in range(5):
        made = snippet(kind, fault(kind, named), seed=seed)
        found_in, issue = only_issue(made)
        line = made.text.splitlines()[issue["line"] - 1]
        assert found_in == category
        assert offending.split() == [part for part in line.split() if part in offending.split()]


def test_issues_come_in_the_order_of_their_lines() -> None:
    made = snippet("rds", fault("rds", "secret"), fault("rds", "unencrypted"))
    lines = [issue["line"] for issue in json.loads(made.review)["security"]]
    assert len(lines) == 2
    assert lines == sorted(lines)


def test_a_review_is_compact_json_in_the_schemas_order() -> None:
    made = snippet("efs", fault("efs", "unencrypted"))
    assert made.review.startswith('{"security":[{"severity":"critical","line":')
    assert made.review.endswith(
        '"issue":"unencrypted storage","fix":"enable encryption"}],"cost":[],"correctness":[]}'
    )


@pytest.mark.parametrize(("kind", "index"), DISTRACTORS)
def test_a_distractor_is_no_issue(kind: str, index: int) -> None:
    edit = CATALOGUE.kinds[kind].distractors[index]
    assert snippet(kind, edit, env=(edit.env or ("dev",))[0]).issues == []


@pytest.mark.parametrize(("kind", "index"), FAULTS)
def test_every_fault_parses_as_hcl(kind: str, index: int) -> None:
    made = snippet(kind, CATALOGUE.kinds[kind].faults[index])
    assert len(made.issues) == 1
    assert hcl2.loads(made.text + "\n")["resource"]


@pytest.mark.parametrize("kind", CATALOGUE.kinds)
def test_every_placeholder_is_filled(kind: str) -> None:
    assert "<" not in snippet(kind).text


def test_equals_signs_line_up_within_a_group_only() -> None:
    lines = ["x {", "  a = 1", "  long = 2", "  inner {", "    b = 3", "  }", "  c = 4", "}"]
    assert aligned(lines) == [
        "x {",
        "  a    = 1",
        "  long = 2",
        "  inner {",
        "    b = 3",
        "  }",
        "  c = 4",
        "}",
    ]
