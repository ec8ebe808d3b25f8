from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.errors import StepladderError
from stepladder.knowledge.chunk import Chunk
from stepladder.prompting.context import fit_context
from stepladder.tasks import Example
from stepladder.tuning.rows import TrainingRow, contexts_for_training, fit_budget, load_tokenizer, tokenise


def chunk(name: str) -> Chunk:
    return Chunk(id=f"{name}#", page=name, heading=(), text=name)


def example(name: str, answerable: bool = True) -> Example:
    return Example.model_validate(
        {"id": name, "prompt": f"ask {name}", "completion": "x", "answerable": answerable}
    )


def test_the_prompt_ends_where_the_assistant_begins_and_the_answer_with_its_end_of_turn(
    tiny_llama: Path,
) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    row = tokenise(tokenizer, [{"role": "user", "content": "Which state?"}], "present", "e1")
    assert (
        tokenizer.decode(row.prompt_ids)
        == "<|im_start|>user\nWhich state?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(row.answer_ids) == "present<|im_end|>"
    assert row.answer_ids[-1] == tokenizer.eos_token_id
    assert row.example_id == "e1"


def test_a_base_model_without_chat_template_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(StepladderError, match="instruction-tuned"):
        load_tokenizer(tmp_path)


lengths = st.lists(st.integers(1, 30), max_size=30)


@given(lengths, st.integers(1, 300), st.integers(1, 30), st.integers(1, 3))
def test_the_budget_holds_and_every_row_is_accounted_for(
    sizes: list[int], budget: int, longest: int, epochs: int
) -> None:
    rows = [TrainingRow([0] * size, [0], str(number)) for number, size in enumerate(sizes)]
    kept, dropped = fit_budget(rows, budget, longest, epochs, seed=0)
    assert sum(row.tokens for row in kept) * epochs <= budget
    assert all(row.tokens <= longest for row in kept)
    assert dropped["too_long"] == sum(row.tokens > longest for row in rows)
    assert len(kept) + sum(dropped.values()) == len(rows)


def test_which_rows_are_kept_depends_on_the_seed_alone() -> None:
    rows = [TrainingRow([0], [0], str(number)) for number in range(20)]
    picks = [[row.example_id for row in fit_budget(rows, 10, 9, 1, seed)[0]] for seed in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]


def test_a_base_model_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: object) -> None:
        raise OSError("nobody/nothing is not a local folder and is not a valid model identifier\nmore")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", unknown)
    with pytest.raises(StepladderError, match=r"nobody/nothing is not a local folder") as caught:
        load_tokenizer("nobody/nothing")
    assert caught.value.where == "nobody/nothing"
    assert "models.base" in caught.value.remedy


FOUND = [chunk("a"), chunk("b"), chunk("c")]


def test_found_gold_stays_at_its_rank() -> None:
    (context,) = contexts_for_training([example("1")], [FOUND], [[chunk("b")]], 0.0, seed=0, fit=list)
    assert context.chunks == FOUND
    assert context.answerable


def test_missed_gold_takes_the_last_ones_place_at_any_rank() -> None:
    examples = [example(str(number)) for number in range(60)]
    contexts = contexts_for_training(examples, [FOUND] * 60, [[chunk("gold")]] * 60, 1.0, seed=0, fit=list)
    ranks = {[c.id for c in context.chunks].index("gold#") for context in contexts}
    assert ranks == {0, 1, 2}
    for context in contexts:
        assert context.answerable
        assert [c for c in context.chunks if c.id != "gold#"] == FOUND[:2]


def test_missed_gold_left_out_makes_an_example_of_abstaining() -> None:
    (context,) = contexts_for_training([example("1")], [FOUND], [[chunk("gold")]], 0.0, seed=0, fit=list)
    assert context.chunks == FOUND
    assert not context.answerable


def test_the_gold_rate_is_how_often_gold_is_put_in() -> None:
    examples = [example(str(number)) for number in range(400)]
    contexts = contexts_for_training(examples, [FOUND] * 400, [[chunk("gold")]] * 400, 0.5, seed=0, fit=list)
    assert 160 < sum(context.answerable for context in contexts) < 240


def test_unanswerable_examples_keep_what_was_retrieved() -> None:
    (context,) = contexts_for_training([example("1", answerable=False)], [FOUND], [[]], 1.0, seed=0, fit=list)
    assert context.chunks == FOUND
    assert not context.answerable


def test_gold_is_given_where_nothing_was_retrieved() -> None:
    (context,) = contexts_for_training([example("1")], [[]], [[chunk("gold")]], 1.0, seed=0, fit=list)
    assert [c.id for c in context.chunks] == ["gold#"]


def part(section: str, body: str = "\nbody", page: str = "p") -> Chunk:
    heading = ("Page", *filter(None, [section]))
    return Chunk(id=f"{page}#{section}", page=page, heading=heading, text=" > ".join(heading) + body)


@pytest.mark.parametrize(
    ("evidence", "gold", "shown"),
    [
        (["p"], [part(""), part("a"), part("b")], {"p#"}),
        (["p"], [part("", body=""), part("a"), part("b")], {"p#a"}),  # a title alone answers nothing
        (["p"], [part("", body="")], {"p#"}),
        (["p", "q"], [part(""), part("a"), part("", page="q"), part("a", page="q")], {"p#", "q#"}),
        (["p#a", "p#b"], [part("a"), part("b")], {"p#a", "p#b"}),
        (["p", "p#b"], [part(""), part("a"), part("b")], {"p#b"}),
    ],
)
def test_of_a_page_named_as_a_whole_its_beginning_is_put_in(
    evidence: list[str], gold: list[Chunk], shown: set[str]
) -> None:
    asked = [example(str(number)).model_copy(update={"evidence": evidence}) for number in range(40)]
    contexts = contexts_for_training(asked, [FOUND] * 40, [gold] * 40, 1.0, seed=0, fit=list)
    put_in = {chunk.id for context in contexts for chunk in context.chunks} - {c.id for c in FOUND}
    assert put_in == shown


def within(budget: int) -> Callable[[Sequence[Chunk]], list[Chunk]]:
    """The context budget that the stage applies, in words."""
    return lambda chunks: fit_context(chunks, budget, lambda text: len(text.split()))


def passage(name: str, words: int) -> Chunk:
    return Chunk(id=f"{name}#", page=name, heading=(), text=" ".join([name] * words))


def test_gold_that_the_budget_cuts_off_does_not_make_an_example_answerable() -> None:
    found = [passage("a", 6), passage("b", 6), passage("gold", 6)]
    (context,) = contexts_for_training([example("1")], [found], [[found[2]]], 0.0, seed=0, fit=within(12))
    assert [c.page for c in context.chunks] == ["a", "b"]
    assert not context.answerable


def test_gold_that_is_put_in_is_never_cut_off_and_the_budget_holds() -> None:
    found = [passage("a", 6), passage("b", 6), passage("c", 6)]
    examples = [example(str(number)) for number in range(60)]
    contexts = contexts_for_training(
        examples, [found] * 60, [[passage("gold", 8)]] * 60, 1.0, seed=0, fit=within(14)
    )
    pages = {tuple(c.page for c in context.chunks) for context in contexts}
    assert pages == {("gold", "a"), ("a", "gold")}
    for context in contexts:
        assert context.answerable
        assert within(14)(context.chunks) == context.chunks


def test_gold_longer_than_the_budget_stands_alone() -> None:
    found = [passage("a", 6), passage("b", 6)]
    (context,) = contexts_for_training(
        [example("1")], [found], [[passage("gold", 20)]], 1.0, seed=0, fit=within(10)
    )
    assert [c.page for c in context.chunks] == ["gold"]
    assert context.answerable


def test_the_real_tokenizer_reads_a_conversation_as_the_chat_template_writes_it(real_llama: Path) -> None:
    tokenizer = load_tokenizer(real_llama)
    asked = [{"role": "system", "content": "Answer."}, {"role": "user", "content": 'acl = "private"\n  x: 1'}]
    answer = '{"security":[],"cost":[]}'
    row = tokenise(tokenizer, asked, answer)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": answer}], tokenize=False)
    ids = tokenizer(whole.rstrip("\n"), add_special_tokens=False)["input_ids"]
    assert [*row.prompt_ids, *row.answer_ids] == ids
