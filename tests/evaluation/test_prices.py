"""A hosted model's price is the stated one, or that of the table which the package carries: never fetched."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.evaluation import prices
from stepladder.evaluation.prices import token_price
from stepladder.settings import Cost

BASE = {"engine_per_hour": 0.1, "training_per_hour": 0.1, "adapter_life_months": 3}


@pytest.fixture(autouse=True)
def _fresh_table() -> Iterator[None]:
    prices._table.cache_clear()
    yield
    prices._table.cache_clear()


@pytest.fixture
def litellm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that carries a table and must not be imported."""
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported: it would fetch a table')")
    table = {
        "small-model": {"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6},
        "an-image-model": {},
    }
    (package / prices._TABLE).write_text(json.dumps(table))
    info = tmp_path / "litellm-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 9.9\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()


def test_without_a_hosted_model_there_is_no_price_per_token() -> None:
    assert token_price(Cost(**BASE)) is None


def test_a_stated_price_goes_before_the_table() -> None:
    found = token_price(Cost(**BASE, hosted="small-model", input_per_million=3, output_per_million=15))
    assert found is not None
    assert (found.per_input_token, found.per_output_token) == pytest.approx((3e-6, 15e-6))
    assert found.source == "stated in params.yaml"


@pytest.mark.usefixtures("litellm")
def test_the_packaged_table_is_read_and_named() -> None:
    found = token_price(Cost(**BASE, hosted="small-model"))
    assert found is not None
    assert (found.per_input_token, found.per_output_token) == (1e-6, 4e-6)
    assert found.source == "LiteLLM 9.9: small-model"
    assert "litellm" not in sys.modules


@pytest.mark.usefixtures("litellm")
@pytest.mark.parametrize(("name", "hint"), [("smal-model", "small-model"), ("an-image-model", "state")])
def test_a_model_without_a_price_says_what_to_do(name: str, hint: str) -> None:
    with pytest.raises(StepladderError, match="no price per token") as caught:
        token_price(Cost(**BASE, hosted=name))
    assert hint in caught.value.remedy
    assert "cost.input_per_million" in caught.value.remedy


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StepladderError, match="not installed") as caught:
        token_price(Cost(**BASE, hosted="small-model"))
    assert "pip install litellm" in caught.value.remedy


def test_one_price_without_the_other_is_refused() -> None:
    with pytest.raises(ValueError, match="both input_per_million and output_per_million"):
        Cost(**BASE, input_per_million=1)
