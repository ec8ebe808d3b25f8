"""Prefect puts the folder of a flow first on the path, so no module there may have a package's name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import flows

MODULES = [path.stem for path in Path(str(flows.__file__)).parent.glob("[a-z]*.py")]


@pytest.mark.parametrize("name", MODULES)
def test_no_module_of_the_flows_hides_a_package(name: str) -> None:
    assert name not in sys.stdlib_module_names
    assert importlib.util.find_spec(name) is None
