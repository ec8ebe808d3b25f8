from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.dedupe import drop_duplicates
from stepladder.tasks import Example

LONG = " ".join(f"word{number}" for number in range(120))
NEAR = LONG.replace("word60 ", "other ")


def example(ident: str, question: str, answer: str = "yes") -> Example:
    return Example.model_validate({"id": ident, "prompt": question, "completion": answer})


def test_an_exact_copy_is_dropped_and_the_first_kept() -> None:
    kept, dropped = drop_duplicates([example("a", "Is it so?"), example("b", "is  it SO?")], 0.9)
    assert [row.id for row in kept] == ["a"]
    assert [(d.id, d.kept, d.kind, d.similarity, d.conflict) for d in dropped] == [
        ("b", "a", "exact", 1.0, False)
    ]


def test_a_copy_with_another_answer_is_dropped_as_a_conflict() -> None:
    kept, (dropped,) = drop_duplicates([example("a", "Is it?", "yes"), example("b", "Is it?", "no")], 0.9)
    assert [row.id for row in kept] == ["a"]
    assert dropped.conflict


def test_a_near_duplicate_with_the_same_answer_is_dropped() -> None:
    kept, (dropped,) = drop_duplicates([example("a", LONG), example("b", NEAR)], 0.9)
    assert [row.id for row in kept] == ["a"]
    assert (dropped.kind, dropped.similarity) == ("near", 0.9225)


def test_a_near_duplicate_with_another_answer_stays() -> None:
    kept, dropped = drop_duplicates([example("a", LONG, "yes"), example("b", NEAR, "no")], 0.9)
    assert [row.id for row in kept] == ["a", "b"]
    assert dropped == []


def test_a_copy_of_a_dropped_row_names_the_row_that_was_kept() -> None:
    rows = [example("a", LONG), example("b", NEAR), example("c", NEAR.upper())]
    _, dropped = drop_duplicates(rows, 0.9)
    assert [(row.id, row.kept) for row in dropped] == [("b", "a"), ("c", "a")]


ROWS = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.sampled_from(["yes", "no"])),
    max_size=12,
).map(lambda items: [example(f"r{n}", " ".join(words), out) for n, (words, out) in enumerate(items)])


@given(ROWS, st.sampled_from([0.3, 0.6, 0.9]))
def test_dropping_twice_drops_nothing_more_and_loses_no_row(rows: list[Example], threshold: float) -> None:
    kept, dropped = drop_duplicates(rows, threshold)
    assert drop_duplicates(kept, threshold) == (kept, [])
    assert sorted([row.id for row in kept] + [row.id for row in dropped]) == sorted(row.id for row in rows)
    assert {row.kept for row in dropped} <= {row.id for row in kept}
