from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.split import choose_few_shot, draw_cases, proportional_quotas, split_examples
from stepladder.tasks import Case, Example


def example(number: int, name: str = "all", cluster: str = "") -> Example:
    return Example.model_validate(
        {"id": f"e{number}", "prompt": f"q{number}", "completion": "a", "slice": name, "cluster": cluster}
    )


def case(ident: str, name: str) -> Case:
    return Case(id=ident, input="q", reference="a", slice=name, cluster=ident)


ROWS = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from(["", "a", "b", "c", "d", "e"])), max_size=60
)
EXAMPLES = ROWS.map(lambda rows: [example(n, name, cluster) for n, (name, cluster) in enumerate(rows)])


@given(EXAMPLES, st.integers(1, 30), st.integers(0, 3))
def test_sets_are_disjoint_complete_and_share_no_cluster(
    rows: list[Example], dev_rows: int, seed: int
) -> None:
    split = split_examples(rows, dev_rows, seed)
    assert sorted(e.id for part in split for e in part) == sorted(e.id for e in rows)
    assert not {e.cluster for e in split.train if e.cluster} & {
        e.cluster for e in (*split.dev, *split.set_aside) if e.cluster
    }
    assert len(split.dev) <= max(1, min(dev_rows, len(rows) // 5))
    clusters = {e.cluster or e.id for e in rows}
    assert bool(split.dev) == (len(clusters) > 1)
    assert bool(split.train) == bool(rows)


def test_dev_takes_each_slice_by_its_share() -> None:
    rows = [example(n, "common" if n % 4 else "rare", f"c{n // 4}") for n in range(400)]
    split = split_examples(rows, 24, seed=0)
    assert Counter(e.slice for e in split.dev) == {"common": 18, "rare": 6}
    assert split.set_aside == []


def test_the_seed_decides_who_is_held_out_and_nothing_else_does() -> None:
    rows = [example(n, cluster=f"c{n}") for n in range(100)]
    first = split_examples(rows, 10, seed=1)
    assert {e.id for e in first.dev} == {e.id for e in split_examples(rows[::-1], 10, seed=1).dev}
    assert {e.id for e in first.dev} != {e.id for e in split_examples(rows, 10, seed=2).dev}


def test_one_huge_cluster_is_not_spent_on_a_few_dev_rows() -> None:
    rows = [example(n, cluster="huge" if n < 90 else f"c{n}") for n in range(100)]
    assert all(e.cluster != "huge" for e in split_examples(rows, 8, seed=0).dev)
    assert len(split_examples(rows, 8, seed=0).train) >= 90


@given(st.dictionaries(st.text(max_size=2), st.integers(0, 40), max_size=6), st.integers(0, 100))
def test_quotas_add_up_and_stay_within_a_row_of_the_share(sizes: dict[str, int], total: int) -> None:
    quotas = proportional_quotas(sizes, total)
    rows = sum(sizes.values())
    assert sum(quotas.values()) == min(total, rows)
    for name, quota in quotas.items():
        assert quota <= sizes[name]
        assert abs(quota - sizes[name] * min(total, rows) / rows) < 1


def test_cases_are_drawn_by_slice_and_kept_in_file_order() -> None:
    cases = [case(f"c{n}", "big" if n < 80 else "small") for n in range(100)]
    drawn = draw_cases(cases, 20)
    assert Counter(c.slice for c in drawn) == {"big": 16, "small": 4}
    assert drawn == [c for c in cases if c in drawn]
    assert draw_cases(cases[::-1], 20) == drawn[::-1]


def test_no_size_or_a_large_one_draws_all_cases() -> None:
    cases = [case("a", "x"), case("b", "y")]
    assert draw_cases(cases, None) == cases
    assert draw_cases(cases, 9) == cases


def test_adding_cases_moves_few_of_those_drawn() -> None:
    cases = [case(f"c{n}", "all") for n in range(400)]
    before = {c.id for c in draw_cases(cases, 100)}
    after = {c.id for c in draw_cases([*cases, *(case(f"new{n}", "all") for n in range(20))], 100)}
    assert len(before & after) >= 90


def test_any_first_part_of_the_few_shot_pool_is_diverse() -> None:
    rows = [example(n, "xxxyz"[n % 5], f"c{n // 10}") for n in range(100)]
    pool = choose_few_shot(rows, 12, seed=0)
    assert [e.slice for e in pool[:3]] == ["x", "y", "z"]
    assert Counter(e.slice for e in pool) == {"x": 4, "y": 4, "z": 4}
    assert len({e.cluster for e in pool}) == 10


@given(EXAMPLES, st.integers(1, 20))
def test_the_pool_is_a_part_of_train_of_the_size_asked(rows: list[Example], size: int) -> None:
    pool = choose_few_shot(rows, size, seed=0)
    assert len(pool) == min(size, len(rows))
    assert len({e.id for e in pool}) == len(pool)
    assert {e.id for e in pool} <= {e.id for e in rows}


def conversation(number: int, name: str = "all", cluster: str = "") -> Example:
    turns = [("user", f"first {number}"), ("assistant", "b"), ("user", f"q{number}"), ("assistant", "a")]
    messages = [{"role": role, "content": content} for role, content in turns]
    row = {"id": f"t{number}", "messages": messages, "slice": name, "cluster": cluster}
    return Example.model_validate(row)


def test_conversations_are_trained_on_and_neither_held_out_nor_shown() -> None:
    rows = [(conversation if n % 2 else example)(n, "xy"[n % 3 > 1]) for n in range(60)]
    split = split_examples(rows, 12, seed=0)
    assert len(split.dev) == 12
    assert not [e.id for e in split.dev if e.history]
    pool = choose_few_shot(split.train, 60, seed=0)
    assert {e.id for e in pool} == {e.id for e in split.train if not e.history}
    assert sum(bool(e.history) for e in split.train) == 30


def test_a_conversation_of_a_dev_rows_cluster_is_not_trained_on() -> None:
    rows = [example(0, cluster="a"), conversation(1, cluster="a"), *(conversation(n) for n in range(2, 9))]
    split = split_examples(rows, 4, seed=0)
    assert [e.id for e in split.dev] == ["e0"]
    assert [e.id for e in split.set_aside] == ["t1"]
    assert choose_few_shot(split.train, 4, seed=0) == []
