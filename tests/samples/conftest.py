"""A hand-made wheel: a few modules in the form of Ansible's own, none of its text."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

FETCH = '''
DOCUMENTATION = r"""
module: fetch_box
short_description: Downloads boxes from a depot
description:
  - Gets a box with C(curl), see L(the guide,https://example.org/guide).
  - Use M(acme.tools.store) to put it back.
options:
  colour:
    description: [The paint. With V(red\\), O(acme.tools.fetch_box#module:size) is ignored.]
    choices: [red, green]
    default: green
  size:
    description: How large.
    type: int
    default: 12
  target:
    description: Where to.
    type: path
    required: true
    aliases: [dest]
  loud:
    description: Tell more.
    type: bool
    default: no
"""
'''
OLD = (
    'DOCUMENTATION = """\nmodule: old\ndeprecated: {why: x}\nshort_description: Old\noptions: {a: {}}\n"""\n'
)
TORN = 'DOCUMENTATION = """\nmodule: torn\noptions:\n  a: b\n c d\n  e: [\n"""\n'
BARE = 'DOCUMENTATION = """\nmodule: bare\nshort_description: Nothing to set\n"""\n'
UNREADABLE = {
    "syntax": 'DOCUMENTATION = """\noptions: {a: {}}\n"""\nprint "old Python"\n',
    "zero": "DOCUMENTATION = 'options: {a: {}}'\0\n",
    "date": 'DOCUMENTATION = """\noptions: {a: {default: 2024-13-45}}\n"""\n',
    "listed": 'DOCUMENTATION = """\noptions: [a, b]\n"""\n',
    "bare_option": 'DOCUMENTATION = """\noptions: {a: text}\n"""\n',
    "one_choice": 'DOCUMENTATION = """\noptions: {a: {choices: 5}}\n"""\n',
}
SHARED = '''
DOCUMENTATION = """
module: shared
short_description: Manages shelves in a cloud depot
description: Shelves.
extends_documentation_fragment: [acme.tools.login]
options:
  shelf: {description: Which., required: true}
"""
'''


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with collection acme.tools, and one module of the core's layout."""
    path = tmp_path / "acme-1.0-py3-none-any.whl"
    modules = {
        "ansible_collections/acme/tools/plugins/modules/fetch_box.py": FETCH,
        "ansible_collections/acme/tools/plugins/modules/deep/shared.py": SHARED,
        "ansible_collections/acme/tools/plugins/modules/old.py": OLD,
        "ansible_collections/acme/tools/plugins/modules/bare.py": BARE,
        "ansible_collections/acme/tools/plugins/modules/torn.py": TORN,
        "ansible_collections/acme/tools/plugins/modules/__init__.py": "",
        "ansible_collections/acme/tools/plugins/lookup/fetch_box.py": FETCH,
        "ansible/modules/fetch_core.py": FETCH,
        **{f"ansible_collections/acme/tools/plugins/modules/{n}.py": s for n, s in UNREADABLE.items()},
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in modules.items():
            archive.writestr(name, source)
    return path
