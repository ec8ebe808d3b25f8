"""The walk up the ladder, on p-values chosen by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from stepladder.ladder.rule import Ladder, walk

ORDER = ("prompt", "rag", "lora+rag")
PAIRS = [(dearer, cheaper) for cheaper, dearer in combinations(ORDER, 2)]
GOOD, BAD, OPEN = (1e-9, 1.0), (1.0, 1e-9), (0.4, 0.6)


def ladder(
    prompt: tuple[float, float],
    rag: tuple[float, float],
    both: tuple[float, float],
    **pairs: tuple[float, float],
) -> Ladder:
    """Rungs as p-values (holds, fails); pairs as (the dearer is better, the cheaper is as good)."""
    rungs = dict(zip(ORDER, (prompt, rag, both), strict=True))
    named = {pair: pairs.get(f"{pair[0].replace('+', '_')}_{pair[1]}", (0.5, 0.5)) for pair in PAIRS}
    return Ladder(
        order=ORDER,
        holds={rung: p[0] for rung, p in rungs.items()},
        fails={rung: (p[1],) for rung, p in rungs.items()},
        better={pair: p[0] for pair, p in named.items()},
        as_good={pair: p[1] for pair, p in named.items()},
    )


def test_the_only_good_rung_is_promoted() -> None:
    assert walk(ladder(BAD, BAD, GOOD), 0.05).promoted == "lora+rag"


def test_a_cheap_rung_is_promoted_when_it_is_no_worse() -> None:
    assert walk(ladder(BAD, GOOD, GOOD, lora_rag_rag=(0.3, 1e-9)), 0.05).promoted == "rag"


def test_a_dear_rung_is_promoted_over_a_good_one_only_when_it_is_better() -> None:
    assert walk(ladder(BAD, GOOD, GOOD, lora_rag_rag=(1e-9, 0.9)), 0.05).promoted == "lora+rag"
    assert walk(ladder(BAD, GOOD, GOOD, lora_rag_rag=(0.2, 0.2)), 0.05).stuck == "rag"


def test_no_dear_rung_is_promoted_while_a_cheaper_one_might_do() -> None:
    assert walk(ladder(BAD, OPEN, GOOD), 0.05).stuck == "rag"


def test_a_better_rung_that_is_not_shown_to_be_good_enough_does_not_lead_on() -> None:
    assert walk(ladder(BAD, OPEN, OPEN, lora_rag_rag=(1e-9, 0.9)), 0.05).stuck == "rag"


def test_a_rung_that_fails_is_no_rival() -> None:
    assert walk(ladder(BAD, GOOD, BAD, lora_rag_rag=(1e-9, 1.0)), 0.05).promoted == "rag"


def test_what_is_out_of_the_question_takes_no_share_of_the_level_to_leave() -> None:
    alone, beside = (walk(ladder((0.9, 0.03), rag, BAD), 0.05) for rag in (BAD, (1.0, 0.5)))
    assert (alone.promoted, alone.stuck) == (None, None)
    assert beside.stuck == "prompt"


def test_all_failing_is_none() -> None:
    ended = walk(ladder(BAD, BAD, BAD), 0.05)
    assert (ended.promoted, ended.stuck) == (None, None)
    assert ended.out == set(ORDER)


def test_rungs_that_were_skipped_keep_their_share() -> None:
    seen = ladder(BAD, BAD, (0.02, 0.9))
    assert walk(seen, 0.05).promoted == "lora+rag"
    assert walk(replace(seen, unseen=3), 0.05).stuck == "lora+rag"
