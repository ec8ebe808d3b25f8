from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.duplicates import near_duplicates, normal_form, shingles

LONG = " ".join(f"word{number}" for number in range(120))


def test_a_long_text_with_one_word_changed_is_a_near_duplicate() -> None:
    changed = LONG.replace("word60 ", "other ")
    (pair,) = near_duplicates([LONG], [changed], 0.9)
    assert (pair.i, pair.j) == (0, 0)
    assert pair.similarity == (124 - 5) / (124 + 5)


def test_templated_questions_that_differ_in_one_word_are_not_duplicates() -> None:
    questions = [
        f"What is the default of option {option} of module {module}?"
        for option in ("state", "mode", "owner")
        for module in ("copy", "file", "template")
    ]
    assert near_duplicates(questions, None, 0.9) == []
    # Not even when they are long and the word stands last.
    tail = " ".join(f"w{number}" for number in range(60))
    assert near_duplicates([f"{tail} copy"], [f"{tail} file"], 0.9) == []


def test_case_white_space_and_punctuation_do_not_make_a_short_text_new() -> None:
    assert near_duplicates(["What  is\nTHIS?"], ["what is this"], 0.9)[0].similarity == 1.0


def test_texts_without_words_are_compared_as_they_are() -> None:
    assert near_duplicates(["???", "!!!", "???"], None, 0.9) == [(0, 2, 1.0)]


def test_a_short_text_is_not_nearly_like_a_long_one_even_at_a_low_threshold() -> None:
    assert near_duplicates(["word0 word1 word2"], [LONG], 0.3) == []


def test_a_self_join_gives_each_pair_once() -> None:
    assert near_duplicates([LONG, "else", LONG, LONG], None, 1.0) == [(0, 2, 1.0), (0, 3, 1.0), (2, 3, 1.0)]


def test_normal_form_folds_case_and_white_space() -> None:
    assert normal_form("  Größe \n\tX ") == "grösse x"


TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=18).map(" ".join), max_size=8)


@given(TEXTS, TEXTS, st.sampled_from([0.2, 0.5, 0.75, 0.9, 1.0]))
def test_the_join_finds_exactly_what_comparing_all_pairs_finds(
    a: list[str], b: list[str], threshold: float
) -> None:
    def similarity(x: str, y: str) -> float:
        return len(shingles(x) & shingles(y)) / len(shingles(x) | shingles(y))

    def brute(left: list[str], right: list[str]) -> list[tuple[int, int, float]]:
        pairs = [(i, j, similarity(x, y)) for i, x in enumerate(left) for j, y in enumerate(right)]
        return [pair for pair in pairs if pair[2] >= threshold]

    assert near_duplicates(a, b, threshold) == brute(a, b)
    assert near_duplicates(a, None, threshold) == [pair for pair in brute(a, a) if pair[0] < pair[1]]
