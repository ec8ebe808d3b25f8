"""Texts to dense vectors with a sentence-transformers model, and a cache of them by content."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from stepladder.cache import Cache
from stepladder.console import OnProgress
from stepladder.files import digest_folder, digest_text, digest_value
from stepladder.hardware import Dtype, device, preferred_dtype
from stepladder.knowledge.locate import model_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

Vectors = NDArray[np.float32]

# Batches of about this many tokens: large enough to fill the matrix units, small enough for the cache.
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
# Lengths are rounded up to a multiple of this: every new tensor shape costs oneDNN a new kernel.
_BUCKET = 8
# Vectors are put in the cache after so many texts: what an interruption can lose.
_SAVE_EVERY = 2048


class Embedder(Protocol):
    """What turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """As written in ``params.yaml``."""

    @property
    def digest(self) -> str:
        """Digest of the model's files and the number format: equal digests, equal vectors."""

    @property
    def model_digest(self) -> str:
        """Digest of the model's files alone: an index of one machine may be asked on another."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Longest text that is read whole, tokens."""

    def encode(self, texts: Sequence[str], progress: OnProgress | None = None) -> Vectors:
        """Unit vectors, shape (len(texts), dimension)."""

    def count_tokens(self, text: str) -> int:
        """Tokens in a text, without special tokens."""


class SentenceEmbedder:
    """A sentence-transformers model in a folder, run in ``dtype`` on the best device."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    @cached_property
    def dtype(self) -> Dtype:
        """The number format of the forward pass."""
        return preferred_dtype()

    @cached_property
    def digest(self) -> str:
        """See ``Embedder``."""
        return digest_value({"files": self.model_digest, "dtype": self.dtype})

    @cached_property
    def model_digest(self) -> str:
        """See ``Embedder``."""
        return digest_folder(self.folder)

    @cached_property
    def _model(self) -> SentenceTransformer:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        model = SentenceTransformer(
            str(self.folder),
            device=device(),
            model_kwargs={"dtype": getattr(torch, self.dtype)},
            # The files are here. HF_HUB_OFFLINE would say it to the base model's loader too.
            local_files_only=True,
        )
        return model.eval()

    @property
    def dimension(self) -> int:
        """See ``Embedder``."""
        return int(self._model.get_embedding_dimension())

    @property
    def max_tokens(self) -> int:
        """See ``Embedder``."""
        special = self._model.tokenizer.num_special_tokens_to_add()
        return int(self._model.max_seq_length) - int(special)

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return len(self._counter.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _counter(self) -> Tokenizer:
        """The tokenizer without the padding and truncation that its file may ask for."""
        from tokenizers import Tokenizer

        counter = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        counter.no_padding()
        counter.no_truncation()
        return counter

    def encode(self, texts: Sequence[str], progress: OnProgress | None = None) -> Vectors:
        """See ``Embedder``. Texts of like length go together, each text is tokenised once."""
        import torch

        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        rows = self._tokenise(texts)
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        done = 0
        with torch.inference_mode():
            for batch, length in _batches(order, [len(row) for row in rows], _BATCH_TOKENS[device()]):
                vectors[batch] = self._forward([rows[i] for i in batch], length)
                done += len(batch)
                if progress:
                    progress(done, len(rows))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, 1e-12)
        return vectors

    def _tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        tokenizer = self._model.tokenizer
        encoded = tokenizer(list(texts), truncation=True, max_length=self._model.max_seq_length)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _forward(self, rows: list[list[int]], length: int) -> Vectors:
        import torch

        padding = self._model.tokenizer.pad_token_id or 0
        ids = np.full((len(rows), length), padding, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        where = self._model.device
        features = {
            "input_ids": torch.from_numpy(ids).to(where),
            "attention_mask": torch.from_numpy(mask).to(where),
        }
        pooled = self._model(features)["sentence_embedding"]
        result: Vectors = pooled.float().cpu().numpy()
        return result


def load_embedder(name: str) -> SentenceEmbedder:
    """The embedder of a name in ``params.yaml``; the model itself is loaded at its first use.

    Args:
        name: ``packaged:all-MiniLM-L6-v2``, a folder, or a hub id.

    Raises:
        StepladderError: there is no such package, folder or hub model.
    """
    return SentenceEmbedder(name, model_folder(name))


def encode_cached(
    embedder: Embedder, texts: Sequence[str], cache: Cache, progress: OnProgress | None = None
) -> tuple[Vectors, int]:
    """Vectors of texts, shape (len(texts), dimension), and how many of them had to be embedded.

    What is embedded is kept as it comes, so an interrupted run loses little.
    """
    keys = [f"vector:{embedder.digest}:{digest_text(text)}" for text in texts]
    known = cache.get(keys)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    # Longest first: batches of like length within a part, and memory trouble shows at once.
    order = sorted(missing, key=lambda key: -len(missing[key]))
    for start in range(0, len(order), _SAVE_EVERY):
        part = order[start : start + _SAVE_EVERY]

        def report(done: float, _: float, start: int = start) -> None:
            if progress:
                progress(start + done, len(order))

        vectors = embedder.encode([missing[key] for key in part], report)
        fresh = {key: vector.tobytes() for key, vector in zip(part, vectors, strict=True)}
        cache.put(fresh)
        known.update(fresh)
    if not texts:
        return np.zeros((0, embedder.dimension), dtype=np.float32), 0
    return np.stack([np.frombuffer(known[key], dtype=np.float32) for key in keys]), len(missing)


def _batches(order: list[int], lengths: list[int], tokens: int) -> list[tuple[list[int], int]]:
    """Consecutive items of ``order`` (shortest first) as (items, padded length), within ``tokens`` each."""
    batches: list[tuple[list[int], int]] = []
    current: list[int] = []
    length = 0
    for i in order:
        padded = -(-lengths[i] // _BUCKET) * _BUCKET
        if current and (padded * (len(current) + 1) > tokens or padded != length):
            batches.append((current, length))
            current = []
        length = padded
        current.append(i)
    if current:
        batches.append((current, length))
    return batches
