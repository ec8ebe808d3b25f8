"""A module's documentation as a Markdown page, and the ids by which questions name their evidence."""

from __future__ import annotations

from stepladder.samples.module_qa.documents import Module, Option
from stepladder.samples.module_qa.markup import leading_sentences
from stepladder.slugs import slug

# An option must fit one chunk with its heading path and facts (96 tokens of the embedder): a second chunk
# of the same option would take a place among the few that are retrieved, and hold no facts.
_MOST_OPTION_TEXT = 220  # characters
_MOST_SYNOPSIS = 600
_MOST_LIST = 300


def page(module: Module) -> str:
    """Synopsis first, then one section an option; within it the facts, one a line, before the description."""
    sections = [
        f"# {module.fqcn}",
        f"{module.summary}.",
        "## Synopsis",
        leading_sentences(module.description, _MOST_SYNOPSIS),
        "## Options",
    ]
    for option in module.options:
        sections += [f"### {option.name}", _facts(module, option)]
        sections.append(leading_sentences(option.description, _MOST_OPTION_TEXT))
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(module: Module, option: Option) -> str:
    lines = [f"Option {option.name} of the Ansible {module.short_name} module."]
    lines.append(f"Type: {option.type}")
    lines.append(f"Required: {'yes' if option.required else 'no'}")
    if option.default is not None:
        lines.append(f"Default: {_short(option.default)}")
    if option.choices:
        lines.append(f"Choices: {_short(', '.join(option.choices))}")
    if option.also:
        lines.append(f"See also: {_short(', '.join(sorted(option.also)))}")
    return "\n".join(lines)


def _short(text: str) -> str:
    """One line, cut where a page would otherwise be a data dump."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_LIST else line[:_MOST_LIST] + " ..."


def option_evidence(module: Module, option: Option) -> str:
    """The id of the option's chunk: page id, then the slugs of its headings below the title."""
    return f"{module.fqcn}#options/{slug(option.name)}"
