"""Rows as training reads them: chat turns, in the packaged base model's tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.tuning.rows import TrainingRow, load_tokenizer, tokenise

SYSTEM = "Answer from the context only; where it does not say, say so."
ASKED = {
    "Which port does the metrics agent use?\n\nContext:\nMetrics > Port\n9100": "9100",
    'Review this:\n1: resource "aws_s3_bucket" "logs" {\n2:   acl = "public-read"\n3: }': '{"cost":[]}',
    "What is the default of `update_cache` (v2)?": "false",
    "Größe der Platte, in GiB?": "8 ½",
}


@pytest.fixture(scope="session")
def real_rows(real_llama: Path) -> list[TrainingRow]:
    """A row a question, all behind the same system prompt."""
    tokenizer = load_tokenizer(real_llama)
    return [
        tokenise(
            tokenizer,
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}],
            answer,
            asked[:5],
        )
        for asked, answer in ASKED.items()
    ]
