"""What an index is made of: ``manifest.json`` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from stepladder.errors import StepladderError
from stepladder.files import read_json
from stepladder.tasks import Strict, explain

MANIFEST = "manifest.json"  # beside the index


class EmbedderRecord(Strict):
    """The model that made the dense vectors. ``digest`` covers its files, not the number format."""

    name: str
    digest: str
    dimension: int


class Parameters(Strict):
    """What shaped chunks and sparse vectors."""

    chunk_tokens: int
    bm25_k1: float
    bm25_b: float
    average_terms: float


class Timings(Strict):
    """What this build cost: the one part that differs when the same index is built again."""

    embedded: int
    embed_s: float
    index_s: float


class Manifest(Strict):
    """An immutable index. ``collection`` is set where ``store`` is a server."""

    task: str
    version: str
    store: Literal["edge", "server"]
    collection: str | None = None
    pages: int
    chunks: int
    embedder: EmbedderRecord
    parameters: Parameters
    timings: Timings


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the index in ``folder``.

    Raises:
        StepladderError: it is missing or not a manifest.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate(read_json(path))
    except ValidationError as error:
        raise StepladderError(
            f"not a manifest: {explain(error)}",
            where=str(path),
            remedy=f"build the index again: `{build_again()}`",
        ) from error


def build_again(*tasks: str) -> str:
    """The command that builds the indexes of these tasks again; to DVC alone they may be up to date."""
    return " ".join(["dvc repro --force --single-item", *(f"index@{task}" for task in tasks or ["TASK"])])
