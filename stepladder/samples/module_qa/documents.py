"""Module documentation read straight from wheels: nothing is unpacked or imported."""

from __future__ import annotations

import ast
import logging
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from stepladder.errors import StepladderError
from stepladder.samples.module_qa.markup import paragraph

logger = logging.getLogger(__name__)

CORE = "ansible.builtin"
COMMUNITY = "community.general"
# Fragments that add no options: what they add is about check mode, connections and the like.
_WITHOUT_OPTIONS = re.compile(r"attributes|actiongroup|action_core|connection_notes")


@dataclass(frozen=True)
class Option:
    """One option: ``default`` and ``choices`` as a reader writes them, None and () where there are none."""

    name: str
    type: str
    required: bool
    default: str | None
    choices: tuple[str, ...]
    description: str
    also: frozenset[str]  # aliases and suboptions: names that the page knows as well


@dataclass(frozen=True)
class Module:
    """One module. ``complete``: no shared fragment adds options that are not here."""

    fqcn: str
    summary: str
    description: str
    options: tuple[Option, ...]
    complete: bool

    @property
    def short_name(self) -> str:
        """The last part of the name."""
        return self.fqcn.rpartition(".")[2]

    def knows(self, name: str) -> bool:
        """Whether an option, alias or suboption has this name."""
        return any(name == option.name or name in option.also for option in self.options)


def read_modules(wheel: Path, collections: set[str] | None = None) -> list[Module]:
    """Modules of a wheel by name, without those that are deprecated, have no options or cannot be read.

    Args:
        collections: only these, say ``{"community.general"}``; None: all.

    Raises:
        StepladderError: the file is not a wheel (an interrupted download).
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            modules = list(_read(archive, collections))
    except zipfile.BadZipFile as error:
        raise StepladderError(
            "not a whole wheel", where=str(wheel), remedy="delete it and run the same command again"
        ) from error
    return sorted(modules, key=lambda module: module.fqcn)


def _read(archive: zipfile.ZipFile, collections: set[str] | None) -> Iterator[Module]:
    for path in archive.namelist():
        fqcn = _name_of(path)
        if fqcn is None or (collections is not None and ".".join(fqcn.split(".")[:2]) not in collections):
            continue
        try:
            document = _document(archive.read(path).decode("utf-8"))
            wanted = document and document.get("options") and "deprecated" not in document
            module = _module(fqcn, document) if document and wanted else None
        except (yaml.YAMLError, SyntaxError, ValueError, TypeError) as error:
            # A few of the 9,000 do not parse; Ansible itself leaves them out of its documentation.
            logger.warning(
                "%s left out, its documentation cannot be read: %s", fqcn, str(error).partition("\n")[0]
            )
            continue
        if module:
            yield module


def _name_of(path: str) -> str | None:
    """The fully qualified name of the module at ``path``, or None if no module lies there."""
    parts = PurePosixPath(path).with_suffix("").parts
    if not path.endswith(".py") or parts[-1].startswith("_"):
        return None
    if parts[:2] == ("ansible", "modules"):
        return ".".join([CORE, *parts[2:]])
    if parts[0] == "ansible_collections" and parts[3:5] == ("plugins", "modules"):
        return ".".join([*parts[1:3], *parts[5:]])
    return None


def _document(source: str) -> dict[str, Any] | None:
    """The module's DOCUMENTATION string as YAML; None where there is none in plain text."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        if any(isinstance(target, ast.Name) and target.id == "DOCUMENTATION" for target in node.targets):
            value = yaml.load(str(node.value.value), Loader=yaml.CSafeLoader)
            return value if isinstance(value, dict) else None
    return None


def _module(fqcn: str, document: dict[str, Any]) -> Module:
    fragments = document.get("extends_documentation_fragment") or []
    names = [fragments] if isinstance(fragments, str) else fragments
    return Module(
        fqcn=fqcn,
        summary=paragraph(document.get("short_description")).rstrip("."),
        description=paragraph(document.get("description")),
        options=tuple(
            _option(str(name), _mapping(facts or {}, f"option {name}"))
            for name, facts in _mapping(document["options"], "options").items()
        ),
        complete=all(_WITHOUT_OPTIONS.search(name) for name in names),
    )


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a mapping")
    return value


def _option(name: str, facts: dict[str, Any]) -> Option:
    default = facts.get("default")
    return Option(
        name=name,
        type=str(facts.get("type", "str")),
        required=bool(facts.get("required", False)),
        default=None if default is None else written(default),
        choices=tuple(written(choice) for choice in facts.get("choices") or ()),
        description=paragraph(facts.get("description")),
        also=frozenset(map(str, [*(facts.get("aliases") or ()), *(facts.get("suboptions") or ())])),
    )


def written(value: object) -> str:
    """A YAML value as a reader writes it: ``true``, ``10``, ``present``, ``[a, b]``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return yaml.dump(value, Dumper=yaml.CSafeDumper, default_flow_style=True, width=1000).strip()
    return str(value)
