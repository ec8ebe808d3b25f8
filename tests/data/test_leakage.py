from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.leakage import find_leaks, require_no_leak
from stepladder.errors import StepladderError
from stepladder.tasks import Case, Example

LONG = " ".join(f"word{number}" for number in range(120))


def case(ident: str, text: str, cluster: str = "held") -> Case:
    return Case(id=ident, input=text, reference="yes", cluster=cluster)


def example(ident: str, *turns: str, cluster: str = "") -> Example:
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
    return Example.model_validate({"id": ident, "messages": messages, "cluster": cluster})


def test_a_case_repeated_word_for_word_is_named_with_the_example() -> None:
    leaks = find_leaks([case("c1", "Is it so?")], [example("e1", "is it  SO?", "yes")], 0.9)
    assert leaks == ["case 'c1' repeats example 'e1' word for word"]


def test_a_case_in_an_earlier_turn_of_an_example_leaks_too() -> None:
    rows = [example("e1", "Is it so?", "yes", "And now?", "no")]
    assert find_leaks([case("c1", "Is it so?")], rows, 0.9) == [
        "case 'c1' repeats example 'e1' word for word"
    ]


def test_the_nearest_example_is_named_for_a_near_duplicate() -> None:
    nearest = LONG.replace("word119", "other")
    farther = nearest.replace("word118", "other")
    rows = [example("far", farther, "yes"), example("near", nearest, "yes")]
    assert find_leaks([case("c1", LONG)], rows, 0.8) == [
        "case 'c1' is nearly example 'near' (similarity 0.92)"
    ]


def alpaca(ident: str, instruction: str, given: str) -> Example:
    row = {"id": ident, "instruction": instruction, "input": given, "output": "yes"}
    return Example.model_validate(row)


@pytest.mark.parametrize("asked", ["Is it so?", LONG, f"Is it so?\n\n{LONG}\n\nOr not?"])
@pytest.mark.parametrize("instruction", ["Answer with the port only.", "Be brief.\n \nBe right."])
def test_an_instruction_before_a_case_does_not_hide_it(instruction: str, asked: str) -> None:
    rows = [example("e0", "Why?", "no"), alpaca("e1", instruction, f"{asked}\n\n")]
    assert find_leaks([case("c1", asked)], rows, 0.9) == ["case 'c1' repeats example 'e1' word for word"]


def test_an_instruction_before_nearly_a_case_does_not_hide_it() -> None:
    asked = f"So it says:\n\n{LONG}"
    rows = [alpaca("e1", "Answer with the port only.", f"{asked} too")]
    cases = [case("c1", asked), case("c2", "It is so, word120")]
    (leak,) = find_leaks(cases, rows, 0.9)
    assert leak.startswith("case 'c1' is nearly example 'e1' (similarity 0.9")


def test_what_stands_before_a_case_is_not_taken_for_it() -> None:
    rows = [alpaca("e1", "One thing.\n\nIs it so?", "Because of the tide."), alpaca("e2", "x", "It is so?")]
    assert find_leaks([case("c1", "Is it so?"), case("c2", f"Is it so?\n\n{LONG}")], rows, 0.9) == []


def test_a_shared_cluster_is_a_leak_and_a_missing_cluster_is_not() -> None:
    rows = [example("e1", "a", "b", cluster="copy"), example("e2", "c", "d")]
    assert find_leaks([case("c1", "x", cluster="copy")], rows, 0.9) == [
        "case 'c1' and example 'e1' are of one cluster 'copy'"
    ]


def test_the_error_names_ten_leaks_counts_the_rest_and_says_what_to_do() -> None:
    cases = [case(f"c{n}", f"question {n}") for n in range(13)]
    rows = [example(f"e{n}", f"question {n}", "yes") for n in range(13)]
    with pytest.raises(StepladderError) as caught:
        require_no_leak(cases, rows, 0.9, Path("tasks/t/examples.jsonl"))
    assert caught.value.what.startswith("13 leaks of cases into the examples: case 'c0' repeats example 'e0'")
    assert caught.value.what.endswith("case 'c9' repeats example 'e9' word for word; and 3 more")
    assert caught.value.where == "tasks/t/examples.jsonl"
    assert "remove or change those examples" in caught.value.remedy


def test_rows_that_only_look_alike_do_not_leak() -> None:
    rows = [example("e1", "What is the default of option mode of module copy?", "0644", cluster="copy")]
    asked = case("c1", "What is the default of option mode of module file?", cluster="file")
    require_no_leak([asked], rows, 0.9, Path("x"))


WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=14).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, min_size=1, max_size=6), st.data())
def test_no_copy_of_a_case_survives_whatever_its_spacing_and_case(
    asked: list[str], known: list[str], data: st.DataObject
) -> None:
    stolen = data.draw(st.sampled_from(asked))
    rows = [example(f"e{n}", text, "yes") for n, text in enumerate([*known, f"  {stolen.upper()}\n"])]
    cases = [case(f"c{n}", text) for n, text in enumerate(asked)]
    leaks = find_leaks(cases, rows, 0.9)
    assert any(f"case 'c{asked.index(stolen)}'" in leak for leak in leaks)
