"""Documentation read from a wheel, and its markup as plain text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.errors import StepladderError
from stepladder.samples.module_qa.documents import Module, read_modules, written
from stepladder.samples.module_qa.markup import leading_sentences, plain
from tests.samples.conftest import UNREADABLE


def by_name(modules: list[Module]) -> dict[str, Module]:
    return {module.fqcn: module for module in modules}


def test_modules_are_named_by_where_they_lie_and_stubs_are_left_out(wheel: Path) -> None:
    names = [module.fqcn for module in read_modules(wheel)]
    assert names == ["acme.tools.deep.shared", "acme.tools.fetch_box", "ansible.builtin.fetch_core"]


def test_a_module_that_cannot_be_read_is_left_out_and_named(
    wheel: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = {f"acme.tools.{name}" for name in ("torn", *UNREADABLE)}
    assert not unreadable & set(by_name(read_modules(wheel)))
    assert {record.getMessage().partition(" left out")[0] for record in caplog.records} == unreadable


def test_only_the_collections_asked_for_are_read(wheel: Path) -> None:
    assert [m.fqcn for m in read_modules(wheel, {"ansible.builtin"})] == ["ansible.builtin.fetch_core"]


def test_options_carry_their_facts_as_a_reader_writes_them(wheel: Path) -> None:
    options = {option.name: option for option in by_name(read_modules(wheel))["acme.tools.fetch_box"].options}
    assert options["colour"].choices == ("red", "green")
    assert (options["colour"].default, options["size"].default, options["loud"].default) == (
        "green",
        "12",
        "false",
    )
    assert options["target"].required
    assert not options["size"].required
    assert options["target"].default is None


def test_a_module_knows_its_options_and_their_aliases(wheel: Path) -> None:
    module = by_name(read_modules(wheel))["acme.tools.fetch_box"]
    assert module.knows("target")
    assert module.knows("dest")
    assert not module.knows("shelf")


def test_a_shared_fragment_makes_the_page_incomplete(wheel: Path) -> None:
    modules = by_name(read_modules(wheel))
    assert not modules["acme.tools.deep.shared"].complete
    assert modules["acme.tools.fetch_box"].complete


def test_a_torn_download_is_named_with_its_remedy(tmp_path: Path) -> None:
    torn = tmp_path / "ansible-1-py3-none-any.whl"
    torn.write_bytes(b"PK\x03\x04 and then the line went dead")
    with pytest.raises(StepladderError, match=r"ansible-1-py3-none-any\.whl: not a whole wheel") as caught:
        read_modules(torn)
    assert "delete it" in caught.value.remedy


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("set C(mode) to V(a\\)b)", "set `mode` to `a)b`"),
        ("B(Never) use I(this)", "Never use this"),
        ("O(acme.tools.box#module:size=3) and RV(ignore:name)", "`size=3` and `ignore:name`"),
        (
            "see L(the guide,https://example.org) or U(https://example.org)",
            "see the guide or https://example.org",
        ),
        ("M(acme.tools.box)  over\n  lines", "`acme.tools.box` over lines"),
        ("P(acme.tools.find#lookup)", "`acme.tools.find`"),
        ("f(x) and CPU(s) stay", "f(x) and CPU(s) stay"),
    ],
)
def test_markup_becomes_plain_text(marked: str, text: str) -> None:
    assert plain(marked) == text


@given(st.text(alphabet="ab .", max_size=200), st.integers(10, 100))
def test_leading_sentences_keep_to_the_limit_and_to_the_text(text: str, limit: int) -> None:
    cut = leading_sentences(text, limit)
    assert len(cut.removesuffix(" ...")) <= limit
    assert text.startswith(cut.removesuffix(" ..."))


def test_leading_sentences_end_at_a_full_stop() -> None:
    assert leading_sentences("One two. Three four. Five.", 20) == "One two. Three four."


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (0, "0"), ([1, "a"], "[1, a]"), ("x", "x")])
def test_values_are_written_as_yaml_readers_expect(value: object, text: str) -> None:
    assert written(value) == text
