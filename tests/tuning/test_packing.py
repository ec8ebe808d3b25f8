from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.tuning.packing import pack, plan_batches
from stepladder.tuning.rows import TrainingRow, load_tokenizer
from tests.tuning.conftest import ASKED, SYSTEM

ids = st.lists(st.integers(0, 9), min_size=1, max_size=12)
rows_of = st.lists(st.builds(TrainingRow, ids, ids), min_size=1, max_size=5)


@settings(deadline=None)  # the first call imports torch
@given(rows_of, ids, st.sampled_from([1, 4, 8]))
def test_every_row_can_be_read_back_from_the_sequence(
    rows: list[TrainingRow], prefix: list[int], bucket: int
) -> None:
    rows = [TrainingRow(prefix + row.prompt_ids, row.answer_ids) for row in rows]
    batch = pack(rows, bucket)
    for number, row in enumerate(rows):
        source = batch.layout.source[number, : row.tokens]
        assert batch.input_ids[0, source].tolist() == row.prompt_ids + row.answer_ids
        assert batch.position_ids[0, source].tolist() == list(range(row.tokens))
    assert batch.targets.tolist() == [token for row in rows for token in row.answer_ids]
    assert batch.tokens == sum(row.tokens for row in rows)
    assert batch.input_ids.shape[1] % bucket == batch.layout.source.shape[1] % bucket == 0


@settings(deadline=None)
@given(rows_of)
def test_a_token_is_found_at_its_place(rows: list[TrainingRow]) -> None:
    layout = pack(rows, 4).layout
    places = layout.place[: layout.used]
    assert layout.source.flatten()[places].tolist() == list(range(layout.used))


def test_a_shared_prefix_is_there_once() -> None:
    rows = [TrainingRow([1, 2, 3, 4], [5]), TrainingRow([1, 2, 3, 6], [7])]
    batch = pack(rows, 1)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 3, 4]]
    assert batch.predictors.tolist() == [3, 5]


def test_the_last_shared_prompt_token_predicts_every_rows_answer() -> None:
    batch = pack([TrainingRow([1, 2], [5]), TrainingRow([1, 2], [6])], 1)
    assert batch.predictors.tolist() == [1, 1]
    assert batch.targets.tolist() == [5, 6]


def test_each_epoch_reads_every_row_once_in_another_order() -> None:
    steps = plan_batches(10, 4, 2, seed=0)
    assert [len(step) for step in steps] == [4, 4, 2, 4, 4, 2]
    first, second = [*chain(*steps[:3])], [*chain(*steps[3:])]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert steps == plan_batches(10, 4, 2, seed=0)
    assert steps != plan_batches(10, 4, 2, seed=1)


def test_of_real_chats_the_prefix_is_the_system_prompt_and_all_else_is_kept(
    real_llama: Path, real_rows: list[TrainingRow]
) -> None:
    tokenizer = load_tokenizer(real_llama)
    batch = pack(real_rows, 8)
    shared = batch.layout.shared
    assert tokenizer.decode(batch.input_ids[0, :shared]) == (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
    )
    assert batch.layout.used == sum(row.tokens - shared for row in real_rows) + shared
    for number, (row, asked) in enumerate(zip(real_rows, ASKED, strict=True)):
        ids = batch.input_ids[0, batch.layout.source[number, : row.tokens]]
        assert ids.tolist() == row.prompt_ids + row.answer_ids
        assert f"{asked}<|im_end|>\n<|im_start|>assistant\n{ASKED[asked]}<|im_end|>" in tokenizer.decode(ids)


def test_packed_real_chats_give_the_loss_and_gradients_of_rows_one_by_one(
    real_llama: Path, real_rows: list[TrainingRow]
) -> None:
    require_the_same_gradients(real_llama, real_rows, lean=True)


@pytest.mark.parametrize("lean", [False, True])
def test_packed_rows_give_the_loss_and_gradients_of_rows_one_by_one(tiny_llama: Path, lean: bool) -> None:
    rows = [
        TrainingRow([5, 6, 7, 20, 21], [30, 31]),
        TrainingRow([5, 6, 7, 22], [32, 33, 34]),
        TrainingRow([5, 6, 7, 23, 24, 25, 26], [35]),
    ]
    require_the_same_gradients(tiny_llama, rows, lean=lean)


def require_the_same_gradients(llama: Path, rows: list[TrainingRow], *, lean: bool) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from stepladder.tuning import adapters
    from stepladder.tuning.attention import register_packed_attention

    def gradients(attention: str) -> tuple[float, dict[str, torch.Tensor]]:
        torch.manual_seed(1)
        base = AutoModelForCausalLM.from_pretrained(llama, attn_implementation=attention)
        model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
        if attention == "sdpa":
            losses = []
            for row in rows:
                ids = torch.tensor([row.prompt_ids + row.answer_ids])
                logits = model(ids).logits[0, len(row.prompt_ids) - 1 : -1]
                losses.append(
                    torch.nn.functional.cross_entropy(logits, torch.tensor(row.answer_ids), reduction="none")
                )
            loss = torch.cat(losses).mean()
        else:
            if lean:
                assert adapters.lean(model) == 2 * 7 + 2 * 2 + 1
            batch = pack(rows, 8)
            logits = model(
                input_ids=batch.input_ids,
                position_ids=batch.position_ids,
                layout=batch.layout,
                logits_to_keep=batch.predictors,
            ).logits[0]
            loss = torch.nn.functional.cross_entropy(logits, batch.targets)
        loss.backward()
        return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}

    expected, apart = gradients("sdpa")
    found, packed = gradients(register_packed_attention())
    assert found == pytest.approx(expected, rel=1e-5)
    for name, gradient in apart.items():
        torch.testing.assert_close(packed[name], gradient, rtol=1e-3, atol=1e-6)
