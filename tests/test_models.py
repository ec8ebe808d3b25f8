"""What a base model is known by."""

from __future__ import annotations

import huggingface_hub
import pytest

from stepladder.errors import StepladderError
from stepladder.models import _hub_commit, model_digest


def test_the_digest_of_a_hub_model_is_that_of_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for commit in ("1" * 40, "2" * 40, "1" * 40):
        path = f"/cache/models--org--model/snapshots/{commit}/config.json"
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _model, _file, path=path: path)
        _hub_commit.cache_clear()
        digests.append(model_digest("org/model"))
    _hub_commit.cache_clear()
    assert digests[0] == digests[2] != digests[1]


def test_a_hub_that_does_not_answer_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_model: str, _file: str) -> str:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(StepladderError, match="cannot ask the hub for the base model: ConnectionError"):
        model_digest("org/model")
