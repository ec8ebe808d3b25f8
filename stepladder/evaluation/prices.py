"""Prices per token of a base model that others serve: as stated, or from LiteLLM's maintained table."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.settings import Cost
from stepladder.tasks import Strict

_TABLE = "model_prices_and_context_window_backup.json"
_INSTALL = "install LiteLLM (the extra `hosted`: pip install litellm), or state the prices yourself:"
_STATE = " cost.input_per_million and cost.output_per_million in params.yaml"


class TokenPrice(Strict):
    """US dollars per token read and per token written, and where the price comes from."""

    per_input_token: float
    per_output_token: float
    source: str


def token_price(cost: Cost) -> TokenPrice | None:
    """The price of a hosted base model; None where the base runs on an engine paid by the hour.

    Raises:
        StepladderError: LiteLLM is not installed, or its table does not hold the model.
    """
    if cost.input_per_million is not None and cost.output_per_million is not None:
        return TokenPrice(
            per_input_token=cost.input_per_million / 1e6,
            per_output_token=cost.output_per_million / 1e6,
            source="stated in params.yaml",
        )
    return _from_table(cost.hosted) if cost.hosted else None


def _from_table(model: str) -> TokenPrice:
    entries, version = _table()
    entry = entries.get(model, {})
    read, written = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if read is None or written is None:
        near = ", ".join(get_close_matches(model, entries, n=3))
        raise StepladderError(
            f"LiteLLM's table {version} holds no price per token of {model!r}",
            where="cost.hosted in params.yaml",
            remedy=(f"did you mean one of {near}? Else state" if near else "state") + _STATE,
        )
    return TokenPrice(
        per_input_token=float(read), per_output_token=float(written), source=f"LiteLLM {version}: {model}"
    )


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, Any], str]:
    """The table that the installed package carries, and the package's version.

    It is read, and the package never imported: on import LiteLLM fetches a newer table from the network.
    """
    spec = importlib.util.find_spec("litellm")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [Path(folder) / _TABLE for folder in folders if (Path(folder) / _TABLE).is_file()]
    if not found:
        raise StepladderError(
            "the price table of LiteLLM is not installed", where="cost.hosted", remedy=_INSTALL + _STATE
        )
    return json.loads(found[0].read_text(encoding="utf-8")), importlib.metadata.version("litellm")
