"""For all tests: the same examples in every run, and random Llamas, one with a real tokenizer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from stepladder.models import PACKAGED_BASE, has_checkpoint

# The same examples every time, and none fails because the machine is busy.
hypothesis.settings.register_profile(
    "stepladder", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("stepladder")

_TRACKING_URI = "MLFLOW_TRACKING_URI"
_TEXT = [
    "What is the default of the option state? The default is present.",
    "Review the Terraform. Answer as JSON. resource aws_s3_bucket acl public-read",
    "You are a helpful assistant. Answer from the context only.",
]
_CHAT = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(autouse=True)
def _tracking_uri_of_each_test() -> Iterator[None]:
    """MLflow writes the store in use into the environment, where the next test's settings would find it."""
    before = os.environ.get(_TRACKING_URI)
    yield
    if before is None:
        os.environ.pop(_TRACKING_URI, None)
    else:
        os.environ[_TRACKING_URI] = before


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a float32 Llama (2 layers, width 32, 4 heads over 2 key heads) and its tokenizer."""
    return _save_llama(_tiny_tokenizer(), tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def real_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same Llama with the packaged base model's tokenizer and chat template."""
    from transformers import AutoTokenizer

    base = Path(__file__).parents[1] / PACKAGED_BASE
    if not has_checkpoint(base):
        pytest.skip("the base model is not there: make setup builds it")
    return _save_llama(AutoTokenizer.from_pretrained(base), tmp_path_factory.mktemp("real-llama"))


def _save_llama(tokenizer: Any, folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,  # at the usual 0.02 no hidden state could make a token likely
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a fresh MLflow store, which is the one in use."""
    import mlflow

    from stepladder.model_copies import EXPERIMENT
    from stepladder.releases import use_mlflow
    from stepladder.settings import Mlflow

    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    for name in ("tests", EXPERIMENT):
        mlflow.create_experiment(name, artifact_location=(folder / "artifacts" / name).as_uri())
    use_mlflow(Mlflow(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment="tests"))
    os.environ.pop(_TRACKING_URI, None)  # whoever wants this store names it, or is in this process
    yield folder
    mlflow.set_tracking_uri(before)


def _tiny_tokenizer():  # noqa: ANN202  the type's import is heavy
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=_CHAT,
    )
